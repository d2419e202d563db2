import { ProtocolError } from "../errors.js";
import { type Bytes, concat, owned } from "./bytes.js";

/** Bytes of a key of either kind. */
export const KEY_BYTES = 32;

const BASE = new Uint8Array(KEY_BYTES);
BASE[0] = 9;
// Before a private key in PKCS #8 (RFC 8410, section 7).
const PKCS8 = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04,
  0x22, 0x04, 0x20,
]);

type Exchange = (secret: Uint8Array, other: Uint8Array) => Promise<Bytes>;

/** The public key of a private one. */
export async function publicKey(secret: Uint8Array): Promise<Bytes> {
  return (await exchange())(secret, BASE);
}

/**
 * The secret that two have in common, 32 bytes (X25519, RFC 7748).
 *
 * @param secret Private key of the one, 32 bytes.
 * @param other Public key of the other.
 * @throws ProtocolError If it is no public key: of another length, or a
 *   point of small order, with which the secret would be none.
 */
export async function agree(
  secret: Uint8Array,
  other: Uint8Array,
): Promise<Bytes> {
  const agreeing = await exchange();
  try {
    if (other.length === KEY_BYTES) return await agreeing(secret, other);
  } catch {
    // Either library says no more than that it failed.
  }
  throw new ProtocolError(
    "Expected a public X25519 key, 32 bytes. Received: " +
      `${other.length} bytes that are none. This phone gives nothing more to ` +
      "this sum; ask for the next round.",
    "protocol",
  );
}

/** In WebCrypto; a secret of zeros is an error there. */
export async function inWebCrypto(
  secret: Uint8Array,
  other: Uint8Array,
): Promise<Bytes> {
  const [own, others] = await Promise.all([
    crypto.subtle.importKey("pkcs8", concat(PKCS8, secret), "X25519", false, [
      "deriveBits",
    ]),
    crypto.subtle.importKey("raw", owned(other), "X25519", false, []),
  ]);
  const algorithm = { name: "X25519", public: others };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, own, 256));
}

/** In JavaScript; it comes over the network only where it is needed. */
export async function inJavaScript(
  secret: Uint8Array,
  other: Uint8Array,
): Promise<Bytes> {
  const { x25519 } = await import("@noble/curves/ed25519.js");
  return owned(x25519.getSharedSecret(secret, other));
}

let chosen: Promise<Exchange> | undefined;

/** WebCrypto has it since Chromium 133, Firefox 130 and Safari 17. */
function exchange(): Promise<Exchange> {
  chosen ??= inWebCrypto(BASE, BASE).then(
    () => inWebCrypto,
    () => inJavaScript,
  );
  return chosen;
}
