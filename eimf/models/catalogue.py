"""Every backbone by its name in recipes: the one line that a new one needs."""

from eimf.models.backbone import Backbone
from eimf.models.bert4rec import BERT4Rec
from eimf.models.comirec_sa import ComiRecSA
from eimf.models.dnn import DNN
from eimf.models.gru4rec import GRU4Rec
from eimf.models.sasrec import SASRec

BACKBONES: dict[str, type[Backbone]] = {
    "sasrec": SASRec,
    "comirec-sa": ComiRecSA,
    "dnn": DNN,
    "gru4rec": GRU4Rec,
    "bert4rec": BERT4Rec,
}
