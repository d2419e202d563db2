/// <reference types="node" />
/** Known answers of Python; tests/web/cohort_vectors.py makes the file. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Bits } from "../../src/cohort/fixed_point.js";
import type { Random } from "../../src/cohort/secret_sharing.js";
import type { StateDescription } from "../../src/description.js";

export interface PhoneVectors {
  vector: number[];
  weight: number;
  keys: string;
  shares: Record<string, string>;
  masked?: string;
  unmask?: Record<string, string>;
}

interface Vectors {
  fixed_point: {
    bits: Bits;
    vector: number[];
    cases: {
      exponents: number[];
      weight: number;
      fraction: number;
      encoded: string[];
    }[];
  }[];
  masks: {
    bits: Bits;
    key: string;
    size: number;
    added: string;
    subtracted: string;
  }[];
  shamir: {
    secret: string;
    threshold: number;
    members: number;
    shares: string;
    last: string;
  }[];
  rounds: {
    bits: Bits;
    cohort: string;
    round: number;
    summed: number[];
    phones: Record<string, PhoneVectors>;
    mean: number[];
    weight: number;
  }[];
  layouts: {
    batchnorm: "average" | "local";
    state: StateDescription[];
    frozen: string;
    kept: string[];
    size: number;
    digest: string;
    statistics: boolean;
  }[];
}

export const VECTORS = JSON.parse(
  readFileSync(new URL("vectors.json", import.meta.url), "utf8"),
) as Vectors;

/** The bytes that Python's phones drew when the answers were made. */
export function chance(seed: string | number): Random {
  let block = 0;
  return (count) => {
    const digest = createHash("sha256").update(`${seed} ${block++}`).digest();
    return Uint8Array.from(digest.subarray(0, count));
  };
}

export function unhex(digits: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

export function sha256hex(...parts: Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** Whole numbers of one or two words, without their sign. */
export function numbers(words: Uint32Array, bits: Bits): bigint[] {
  if (bits === 32) return [...words].map(BigInt);
  return [...new BigUint64Array(words.slice().buffer)];
}
