import { expect, test } from "vitest";
import { SplitTraining } from "../src/gen/split_pb.js";

test("the generated service has the three calls", () => {
  expect(Object.keys(SplitTraining.method)).toEqual([
    "train",
    "exchange",
    "status",
  ]);
});
