import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";
import type { Facing } from "../images/camera";
import { closeCamera, looksBack, openCamera } from "../images/camera";
import type { InputShape } from "../images/model_input";
import { Icon } from "./icons";
import { ProblemNote } from "./problem_note";

interface Props {
  readonly video: RefObject<HTMLVideoElement | null>;
  readonly shape: InputShape;
  /** The camera shows something. */
  readonly onReady?: () => void;
}

/** What the camera sees: exactly the part that a photo will have. */
export function Viewfinder({ video, shape, onReady }: Props) {
  const facing = useSignal<Facing>("environment");
  const mirrored = useSignal(false);
  const problem = useSignal<unknown>(null);
  const wished = facing.value;
  useEffect(() => {
    let stream: MediaStream | null = null;
    let gone = false;
    openCamera(wished).then(
      (opened) => {
        if (gone || !video.current) {
          closeCamera(opened);
          return;
        }
        stream = opened;
        mirrored.value = looksBack(opened);
        video.current.srcObject = opened;
      },
      (error) => {
        problem.value = error;
      },
    );
    return () => {
      gone = true;
      if (stream) closeCamera(stream);
    };
  }, [wished]);
  if (problem.value) return <ProblemNote problem={problem.value} />;
  return (
    <div class="viewfinder">
      <video
        ref={video}
        class={mirrored.value ? "mirrored" : ""}
        style={{ aspectRatio: `${shape.width} / ${shape.height}` }}
        aria-label="What the camera sees"
        autoPlay
        playsInline
        muted
        onPlaying={onReady}
      />
      <button
        type="button"
        class="quiet"
        onClick={() => {
          facing.value = wished === "user" ? "environment" : "user";
        }}
      >
        <Icon name="turn" />
        Other camera
      </button>
    </div>
  );
}
