"""All backbones by their names in recipes. A new one needs an import and a line here."""

from eimf.backbones.base import Backbone
from eimf.backbones.bert4rec import BERT4Rec
from eimf.backbones.bsarec import BSARec
from eimf.backbones.comirec_dr import ComiRecDR
from eimf.backbones.comirec_sa import ComiRecSA
from eimf.backbones.dnn import DNN
from eimf.backbones.gru4rec import GRU4Rec
from eimf.backbones.hstu import HSTU
from eimf.backbones.mind import MIND
from eimf.backbones.remi import REMI
from eimf.backbones.sasrec import SASRec
from eimf.backbones.sine import SINE

BACKBONES: dict[str, type[Backbone]] = {
    "dnn": DNN,
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
    "bsarec": BSARec,
    "hstu": HSTU,
    "mind": MIND,
    "comirec-dr": ComiRecDR,
    "comirec-sa": ComiRecSA,
    "remi": REMI,
    "sine": SINE,
}
