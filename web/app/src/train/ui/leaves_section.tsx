import type { Album } from "../album";
import { bytes } from "../format";
import type { Description, Phone } from "../phone/types";
import { decode } from "../smashed/decode";
import type { Picture } from "../smashed/picture";
import { picture } from "../smashed/picture";
import type { Run } from "../training/run";
import type { Taken } from "../training/trainer";
import { PictureOf } from "./picture_of";

interface Props {
  readonly album: Album;
  readonly run: Run;
  readonly phone: Phone;
  readonly description: Description;
}

/** What leaves this phone, with the last of it as a picture. */
export function LeavesSection({ album, run, phone, description }: Props) {
  const last = run.last.value;
  const { cohort } = phone;
  return (
    <section class="panel" aria-labelledby="leaves">
      <h2 id="leaves">What leaves this phone</h2>
      <div class="sides">
        <div>
          <h3>Stays here</h3>
          <ul>
            <li>your photos</li>
            <li>which photo is of which class, and the names</li>
            <li>the answers the network gives</li>
            <li>
              the first and the last layers
              {cohort && ", but see below: a cohort averages them"}
            </li>
          </ul>
        </div>
        <div>
          <h3>Goes to the server</h3>
          <ul>
            <li>
              for each photo the numbers behind the first layers, the “smashed
              data”
            </li>
            <li>gradients of the layers in the middle</li>
            <li>how many photos a step has, and the learning rate</li>
            <li>this phone's name, so that the server knows it again</li>
          </ul>
        </div>
      </div>
      {last && (
        <Sent
          album={album}
          taken={last}
          rule={description.contract.quantization.activations.dtype}
        />
      )}
      <p>
        The server sees less than the photo, not nothing: where the pictures
        above still look like the thing, whoever runs the server can see it,
        too. It also knows what this phone's layers began with: they came from
        there. The encryption of the connection keeps others out.
      </p>
      {cohort && (
        <p>
          This server trains one model with {cohort.phones} phones. After some
          steps this phone sends how its own layers have changed
          {cohort.secure
            ? ", under a mask: the server can read the sum of all phones only."
            : "; the server can read that."}
        </p>
      )}
    </section>
  );
}

function Sent({
  album,
  taken,
  rule,
}: {
  readonly album: Album;
  readonly taken: Taken;
  readonly rule: string;
}) {
  const [tensor] = taken.result.smashed;
  const [key = -1] = taken.keys;
  const example = album.examples.value.get(key);
  if (!tensor) return null;
  const values = decode(tensor, rule, 0);
  const drawn = values && picture(values, tensor.shape.slice(1));
  const each = taken.result.bytes.up / taken.keys.length;
  return (
    <div class="sent">
      {example && (
        <figure>
          <PictureOf pixels={example.pixels} label="A photo of the last step" />
          <figcaption>A photo of the last step: stays here</figcaption>
        </figure>
      )}
      <figure>
        {drawn && (
          <PictureOf
            pixels={drawn.pixels}
            label="The smashed data of that photo, as gray tiles"
          />
        )}
        <figcaption>
          {drawn
            ? `What was really sent of it: ${words(drawn)}`
            : "What was sent of it cannot be drawn: only some of its numbers go"}
          {`, about ${bytes(Math.round(each))} a photo with the gradients`}
        </figcaption>
      </figure>
    </div>
  );
}

function words({ shown, channels }: Picture): string {
  return shown < channels
    ? `${shown} of ${channels} channels, as gray tiles`
    : `${channels === 1 ? "one channel" : `${channels} channels`}, as gray tiles`;
}
