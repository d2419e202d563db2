"""What an attack got, beside what anybody gets, and what it took."""

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from keras_split.audit.alarms import Alarms
from keras_split.defenses.epsilon import Epsilon

INPUTS, LABELS, MEMBERS = "inputs", "labels", "members"


@dataclass(frozen=True)
class Budget:
    """What an attack had; a longer one gets more.

    Attributes:
        seen: Steps of the training that it saw.
        steps: Of its own training, if it has one.
        planned: How many there would have been, had there been time; 0 if
            it does not say.
        public: Examples of its own.
        seconds: How long it computed, beside the training and behind it.
        cpu_seconds: The same on all cores together.
    """

    seen: int
    steps: int
    planned: int
    public: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Finding:
    """What an attack got of one training.

    Attributes:
        attack: Its name.
        of: `"inputs"`, `"labels"` or `"members"`.
        measures: How good it is by each measure: `mse`, `psnr`, `ssim` and
            `match` of inputs, `accuracy` of labels, `auc` of members.
        baselines: The same of what needs no attack, by name.
        examples: How many it was scored on.
        budget: What it had.
        knows: What it was given that a server should not have.
        paper: Where it is from.
        lies: Whether its gradients are not those of the loss, as a phone can
            tell.
    """

    attack: str
    of: str
    measures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    examples: int
    budget: Budget
    knows: tuple[str, ...] = ()
    paper: str = ""
    lies: bool = False

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self) | {"knows": list(self.knows)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Finding":
        """The inverse of `get_config`."""
        given = dict(config) | {"knows": tuple(config["knows"])}
        return cls(**given | {"budget": Budget(**given["budget"])})


@dataclass(frozen=True)
class Trial:
    """One training, and what every attack got of it.

    Attributes:
        name: What is special about it: its defenses, mostly.
        defenses: Names and values, without their secret.
        accuracy: Of the trained model, on data that it was not trained on.
        steps: How many were taken.
        planned: How many there would have been, had there been time.
        seconds: All of it, attacks too.
        findings: One for each attack and what it is after.
        left_out: Why some attacks were not tried, by name.
        alarms: Whether phones told a hijacker; None without a drill.
        epsilons: What differential privacy says of the phone's examples;
            nothing without a defense.
    """

    name: str
    defenses: tuple[Mapping[str, Any], ...]
    accuracy: float
    steps: int
    planned: int
    seconds: float
    findings: tuple[Finding, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    alarms: Alarms | None = None
    epsilons: tuple[Epsilon, ...] = ()

    def finding(self, attack: str, of: str) -> Finding | None:
        """That of an attack, if it is here."""
        for finding in self.findings:
            if (finding.attack, finding.of) == (attack, of):
                return finding
        return None

    def measures(self, attack: str, of: str) -> Mapping[str, float]:
        """Those of an attack; none if it is not here."""
        finding = self.finding(attack, of)
        return {} if finding is None else finding.measures

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return vars(self) | {
            "defenses": [dict(one) for one in self.defenses],
            "findings": [one.get_config() for one in self.findings],
            "left_out": dict(self.left_out),
            "alarms": self.alarms and self.alarms.get_config(),
            "epsilons": [asdict(one) for one in self.epsilons],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Trial":
        """The inverse of `get_config`."""
        found = map(Finding.from_config, config["findings"])
        given = dict(config) | {"findings": tuple(found)}
        if given.get("alarms") is not None:
            given["alarms"] = Alarms.from_config(given["alarms"])
        private = map(Epsilon.from_config, given.get("epsilons", ()))
        given["epsilons"] = tuple(private)
        return cls(**given | {"defenses": tuple(config["defenses"])})


@dataclass(frozen=True)
class Setting:
    """What was attacked, and for how long.

    Attributes:
        cut: The cut layers.
        quantization: Of what crosses.
        private: The phone's examples.
        public: The attacker's.
        held_out: Those that the accuracy was measured on.
        classes: How many there are.
        batch_size: Examples in a step.
        seed: Of all chance.
        minutes: How long it was to take.
        seconds: How long it took.
        words: What else there is to say, by its name, such as `"network"`.
    """

    cut: tuple[str, ...]
    quantization: str
    private: int
    public: int
    held_out: int
    classes: int
    batch_size: int
    seed: int
    minutes: float
    seconds: float
    words: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, str]:
        """The same for people."""
        return dict(self.words) | {
            "cut": " and ".join(self.cut),
            "quantization": self.quantization,
            "examples": f"{self.private:,} of the phone, {self.public:,} of "
            f"the attacker, {self.held_out:,} to measure the accuracy on",
            "classes": str(self.classes),
            "batch size": str(self.batch_size),
            "seed": str(self.seed),
            "time": f"{self.seconds / 60:.1f} minutes; {self.minutes:g} were "
            "asked for",
        }

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self) | {"cut": list(self.cut)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Setting":
        """The inverse of `get_config`."""
        return cls(**dict(config) | {"cut": tuple(config["cut"])})
