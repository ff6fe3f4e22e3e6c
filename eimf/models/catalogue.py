"""Every backbone by its name in recipes: the import and the line that a new one needs."""

from eimf.models.backbone import Backbone
from eimf.models.bert4rec import BERT4Rec
from eimf.models.bsarec import BSARec
from eimf.models.comirec_dr import ComiRecDR
from eimf.models.comirec_sa import ComiRecSA
from eimf.models.dnn import DNN
from eimf.models.gru4rec import GRU4Rec
from eimf.models.hstu import HSTU
from eimf.models.mind import MIND
from eimf.models.remi import REMI
from eimf.models.sasrec import SASRec
from eimf.models.sine import SINE

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
