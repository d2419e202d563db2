"""What a server can find out about the data of a phone, tried out."""

from keras_split.audit.alarms import Alarms as Alarms
from keras_split.audit.alarms import Encounter as Encounter
from keras_split.audit.attack import Attack as Attack
from keras_split.audit.attack import Guess as Guess
from keras_split.audit.attack import Spent as Spent
from keras_split.audit.clustering import Clustering as Clustering
from keras_split.audit.direction import Direction as Direction
from keras_split.audit.finding import Budget as Budget
from keras_split.audit.finding import Finding as Finding
from keras_split.audit.finding import Setting as Setting
from keras_split.audit.finding import Trial as Trial
from keras_split.audit.hijack import Hijack as Hijack
from keras_split.audit.images import Likeness as Likeness
from keras_split.audit.images import baselines as baselines
from keras_split.audit.images import bounds_of as bounds_of
from keras_split.audit.images import is_image as is_image
from keras_split.audit.images import likeness as likeness
from keras_split.audit.known_head import InitialHead as InitialHead
from keras_split.audit.known_head import KnownHead as KnownHead
from keras_split.audit.labels import LabelScore as LabelScore
from keras_split.audit.labels import score_labels as score_labels
from keras_split.audit.malicious import take_over as take_over
from keras_split.audit.matching import Matching as Matching
from keras_split.audit.membership import Membership as Membership
from keras_split.audit.membership import member_auc as member_auc
from keras_split.audit.nearest_mean import NearestMean as NearestMean
from keras_split.audit.norm import Norm as Norm
from keras_split.audit.recorder import Recorder as Recorder
from keras_split.audit.report import Report as Report
from keras_split.audit.runner import run as run
from keras_split.audit.scene import Examples as Examples
from keras_split.audit.scene import Leaked as Leaked
from keras_split.audit.scene import Scene as Scene
from keras_split.audit.score import defense_score as defense_score
from keras_split.audit.score import overall_score as overall_score
from keras_split.audit.sdar import SDAR as SDAR
from keras_split.audit.seen import Seen as Seen
from keras_split.audit.simulator import Simulator as Simulator
from keras_split.audit.standard import standard as standard
from keras_split.audit.unsplit import UnSplit as UnSplit
from keras_split.audit.watch import Kept as Kept
from keras_split.audit.watch import Watched as Watched
from keras_split.audit.watch import leak as leak
from keras_split.audit.watch import scene_of as scene_of
from keras_split.audit.watch import watch as watch

__all__ = [
    "Alarms",
    "Attack",
    "Budget",
    "Clustering",
    "Direction",
    "Encounter",
    "Examples",
    "Finding",
    "Guess",
    "Hijack",
    "InitialHead",
    "Kept",
    "KnownHead",
    "LabelScore",
    "Leaked",
    "Likeness",
    "Matching",
    "Membership",
    "NearestMean",
    "Norm",
    "Recorder",
    "Report",
    "SDAR",
    "Scene",
    "Seen",
    "Setting",
    "Simulator",
    "Spent",
    "Trial",
    "UnSplit",
    "Watched",
    "baselines",
    "bounds_of",
    "defense_score",
    "is_image",
    "leak",
    "likeness",
    "member_auc",
    "overall_score",
    "run",
    "scene_of",
    "score_labels",
    "standard",
    "take_over",
    "watch",
]
