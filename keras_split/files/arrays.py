"""What an .npz is: a device's state, a checkpoint, a snapshot, data."""

import json
from pathlib import Path

from keras_split.files.facts import Facts
from keras_split.files.facts import of_moment
from keras_split.files.facts import total
from keras_split.utils import npz


def of_npz(path: Path) -> Facts:
    """Facts of an .npz.

    Raises:
        ValueError: If it cannot be read, or is none of ours.
        KeyError: If something is missing in it.
    """
    arrays = npz.read(path)
    if {"fingerprint", "frozen", "step"} <= arrays.keys():
        return _device_state(arrays)
    if "about" in arrays:
        return _checkpoint(arrays)
    if "body_0" in arrays:
        return _snapshot(arrays)
    if {"x", "y"} <= arrays.keys():
        return {
            "kind": "data: inputs x and labels y",
            "arrays": {n: [str(a.dtype), *a.shape] for n, a in arrays.items()},
        }
    raise ValueError(f"its arrays are {', '.join(sorted(arrays)[:5])}")


def _device_state(arrays: dict[str, npz.Array]) -> Facts:
    state = {n: a for n, a in arrays.items() if n.startswith("state.")}
    run = str(arrays.get("run", ""))
    moment = {"run": run, "steps": int(arrays.get("run_steps", 0))}
    return {
        "kind": "the state of a LiteRT-only device, head and tail",
        **of_moment(moment if run else None),
        "device_steps": int(arrays["step"]),
        "fingerprint": str(arrays["fingerprint"]),
        "server_snapshot": str(arrays.get("tag", "")) or None,
        "state_tensors": len(state),
        "numbers": total(a.shape for a in state.values()),
    }


def _checkpoint(arrays: dict[str, npz.Array]) -> Facts:
    about = json.loads(arrays["about"].tobytes())
    timeline = about.get("timeline") or {}
    body = [arrays[f"body_{i}"] for i in range(about["body"])]
    return {
        "kind": "a checkpoint of a server: the body and its sessions",
        **of_moment(timeline.get("moment")),
        "fingerprint": about["fingerprint"],
        "numbers": total(a.shape for a in body),
        "optimizer": about.get("optimizer") or "that of each client",
        "sessions": [
            {"client": s.get("client"), "next_step": s["next_step"]}
            for s in about["sessions"]
        ],
    }


def _snapshot(arrays: dict[str, npz.Array]) -> Facts:
    timeline = {}
    if "timeline" in arrays:
        timeline = json.loads(arrays["timeline"].tobytes())
    body = [a.shape for n, a in arrays.items() if n.startswith("body_")]
    return {
        "kind": "a snapshot that a server keeps of its body",
        **of_moment(timeline.get("moment")),
        "numbers": total(body),
    }
