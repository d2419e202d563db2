"""What an audit found, to read and to keep."""

import json
from dataclasses import dataclass
from typing import Any

from keras_split.audit.finding import Setting
from keras_split.audit.finding import Trial
from keras_split.audit.pictures import Pictures
from keras_split.errors import DataError
from keras_split.utils.version import __version__

_FORMAT = "keras_split.audit/1"


@dataclass(frozen=True, eq=False)
class Report:
    """What an audit found.

    Attributes:
        setting: What was attacked.
        trials: The client as it is, and with the defenses to compare.
        pictures: A few examples and what attacks made of them; None where
            inputs are no images. They are no part of the JSON.
    """

    setting: Setting
    trials: tuple[Trial, ...]
    pictures: Pictures | None = None

    def to_json(self) -> str:
        """All figures, as text."""
        return json.dumps(
            {
                "format": _FORMAT,
                "keras_split": __version__,
                "setting": self.setting.get_config(),
                "trials": [trial.get_config() for trial in self.trials],
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The inverse of `to_json`, without pictures.

        Raises:
            DataError: If it is none.
        """
        try:
            config: dict[str, Any] = json.loads(text)
            if config["format"] != _FORMAT:
                raise ValueError(config["format"])
            return cls(
                Setting.from_config(config["setting"]),
                tuple(map(Trial.from_config, config["trials"])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"Expected a report of an audit, {_FORMAT}. Received: "
                f"{error!r}. Write one with Report.to_json."
            ) from error
