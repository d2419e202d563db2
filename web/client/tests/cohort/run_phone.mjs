/**
 * A phone of a cohort, in Node or in a page, as a test says.
 *
 * @param {object} library What it is made of: `SplitClient`, `train`, ...
 * @param {object} spec Of the test: `url`, `token`, `epochs`, `federate`, and
 *   perhaps `hang`, `{ stage, round }` of a contribution that it never sends.
 * @param {object} parts `runtime`, `store`, `model`, `description`, `x`, `y`.
 * @param {(what: object) => void} say Tells the test.
 * @returns {Promise<ArrayBuffer[]>} The half after the last epoch.
 */
export async function runPhone(library, spec, parts, say) {
  const { connect, SplitClient, train } = library;
  const { url: baseUrl, token, hang } = spec;
  const transport = connect({ baseUrl, token });
  const client = await SplitClient.open({
    baseUrl,
    ...parts,
    transport: {
      async exchange(envelope, timeoutMs) {
        const { case: kind, value } = envelope.message;
        if (hang && kind === "contribution" && value.stage === hang.stage) {
          if (Number(value.round) === hang.round) {
            say({ hangs: hang.stage });
            await new Promise(() => {});
          }
        }
        return await transport.exchange(envelope, timeoutMs);
      },
    },
  });
  say({ secure: client.cohort.secure, step: client.nextStep });
  const { x, y } = parts;
  let state;
  await train(
    client,
    { count: y.length, x: [x], y: [y] },
    {
      epochs: spec.epochs,
      federate: spec.federate,
      onStep: ({ step, loss, taken }) => say({ step, loss, taken }),
      onEpoch: async (epoch, logs) => {
        state = await client.getState();
        say({ epoch, ...logs });
      },
      onTrouble: (trouble) => say({ trouble }),
    },
  );
  await client.close();
  return client.description.state
    .filter(({ kind }) => kind !== "slot")
    .map(({ name }) => state.get(name).slice().buffer);
}
