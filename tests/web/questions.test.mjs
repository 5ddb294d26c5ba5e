// What the browser asks of Python is asked until it is there.

import assert from "node:assert/strict";
import test from "node:test";

import { Questions } from "../../pages/ui/web/questions.js";

// Questions whose time the test moves, and what they said.
function asking(t, data = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1e12 });
  const root = { isConnected: true };
  const said = [];
  const gone = [];
  const questions = new Questions(root, () => ({ of: "run" }), () => gone.push(true));
  const hear = (name, value) => said.push(structuredClone(value));
  const news = (about = {}, got = []) => questions.answered({ ...data, ...about }, got, hear);
  const wait = (ms) => {
    for (let passed = 0; passed < ms; passed += 10) t.mock.timers.tick(10);
  };
  news({ answered: "" });
  return { questions, root, said, gone, news, wait };
}

test("what is wanted is asked for once, and not any more when it is there", (t) => {
  const { questions, said, news, wait } = asking(t);
  questions.want(7);
  questions.want(7);
  questions.want(9);
  wait(20);
  assert.deepEqual(said.map(({ of, want }) => [of, want]), [["run", [7, 9]]]);
  news({ answered: said[0].id }, [7, 9]);
  wait(1500);
  assert.deepEqual(said.map(({ want }) => want), [[7, 9], []], "Python need not send them again");
  news({ answered: said[1].id });
  wait(10_000);
  assert.equal(said.length, 2);
});

test("an answer that is lost is asked for again until it is there", (t) => {
  const { questions, said, news, wait } = asking(t);
  questions.want(7);
  wait(20);
  wait(9000);
  assert.ok(said.length >= 3 && said.every(({ want }) => want.includes(7)));
  news({ answered: said.at(-1).id }, [7]);
  wait(2000);
  assert.deepEqual(said.at(-1).want, []);
});

test("an answer without what was asked for is no answer", (t) => {
  const { questions, said, news, wait } = asking(t);
  questions.want(7);
  wait(20);
  news({ answered: said[0].id }, []);
  wait(20);
  assert.deepEqual(said[1].want, [7]);
});

test("one question at a time: what comes up meanwhile is asked with the next", (t) => {
  const { questions, said, news, wait } = asking(t);
  questions.want(1);
  wait(20);
  questions.want(2);
  questions.tell(0);
  wait(500);
  assert.equal(said.length, 1);
  news({ answered: said[0].id }, [1]);
  wait(20);
  assert.deepEqual(said[1].want, [2]);
});

test("an order is repeated until Python says that it is carried out", (t) => {
  const { questions, said, news, wait } = asking(t);
  questions.order("slow", { step: 3 });
  wait(3000);
  const ids = new Set(said.flatMap(({ orders }) => orders.map(({ id, name, step }) => `${id} ${name} ${step}`)));
  assert.ok(said.length >= 2 && ids.size === 1);
  const [order] = said.at(-1).orders;
  assert.deepEqual([order.name, order.step], ["slow", 3]);
  news({ answered: said.at(-1).id, done: [order.id] });
  questions.tell(0);
  wait(20);
  assert.deepEqual(said.at(-1).orders, []);
});

test("about another run nothing of the last one is asked", (t) => {
  const { questions, said, wait } = asking(t);
  questions.want(7);
  questions.order("slow");
  questions.begin();
  wait(20);
  assert.ok(said.every(({ want, orders }) => !want.length && !orders.length));
});

test("news are asked for as often as Python wants, and by nobody who has left the page", (t) => {
  const { said, root, gone, news, wait } = asking(t, { poll: 2 });
  for (let second = 0; second < 8; second++) {
    wait(1000);
    if (said.length) news({ answered: said.at(-1).id });
  }
  assert.ok(said.length >= 3 && said.length <= 5, String(said.length));
  root.isConnected = false;
  const count = said.length;
  wait(20_000);
  assert.ok(said.length === count && gone.length);
  root.isConnected = true;
  news();
  wait(5000);
  assert.ok(said.length > count, "it came back");
});

test("a tab that nobody sees asks for no news, and does again when it is seen", (t) => {
  const { said, wait } = asking(t, { poll: 2 });
  globalThis.document = { hidden: true };
  t.after(() => delete globalThis.document);
  wait(10_000);
  assert.equal(said.length, 0);
  globalThis.document.hidden = false;
  wait(2000);
  assert.equal(said.length, 1);
});
