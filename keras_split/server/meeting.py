"""What a client is told whose half and the body are not of one training."""

from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline


def notice(client: Moment, body: Timeline) -> str:
    """What to say about it; empty if there is nothing to say.

    A half that has not trained may join any body, and so may one that the
    body has left behind: others trained it meanwhile, or its client saved
    its half and went on. A half from elsewhere may as well, for training
    brings the two together; but until then they are no model.

    Args:
        client: Of the client's half.
        body: Of the body that it meets.
    """
    if not client or body.includes(client):
        return ""
    now = body.moment
    if not now:
        found = "this body has not trained"
        lost = "The two were not trained together"
    elif now.run == client.run:
        found = f"this body is of step {now.steps:,} of it"
        lost = "The body went back since: the two are apart"
    else:
        found = f"this body is of {now}"
        lost = "The two were not trained together"
    return (
        f"Expected a body that has trained with this phone's half, which is "
        f"of {client}. Received: {found}. {lost}, and are no one model until "
        "they have trained together for some time. Serve the body of that "
        "training: serve --checkpoints FOLDER, or the server.keras that was "
        "saved with this half."
    )
