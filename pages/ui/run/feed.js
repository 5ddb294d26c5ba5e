// What all who watch a run want of it comes as files, which the server writes once: curves, as a whole and what was
// added from one version to the next, and recorded sheets. The browser fetches what it lacks.

import { legible } from "../web/mount.js";

const RECENT = 16; // sheets that are not fetched again; older ones stay as the images that were made of them
const MOST_POINTS = 2000; // of a curve, before it is fetched again as a whole, thinned out

const read = async (address, how = {}) => {
  const answer = await fetch(address, how);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
};

// Which files lead from version `have` to the newest of `versions`; a whole first where there is no other way.
export function missing(versions, have, long = false) {
  const [whole, newest] = [versions[0], versions.at(-1)];
  if (have >= newest && have !== null) return [];
  const known = long && whole > have ? -1 : versions.indexOf(have);
  const from = Math.max(0, known);
  const added = versions.slice(from + 1).map((version, index) => `${versions[from + index]}-${version}`);
  return known < 0 ? [String(whole), ...added] : added;
}

// `curves` with the points that were added.
export function joined(curves, added) {
  const all = { ...curves };
  for (const [name, { x, y }] of Object.entries(added)) {
    const before = all[name] ?? { x: [], y: [] };
    all[name] = { x: [...before.x, ...x], y: [...before.y, ...y] };
  }
  return all;
}

export class Feed {
  constructor() { Object.assign(this, { have: null, curves: {}, sheets: new Map(), working: Promise.resolve() }); }

  // `data` with its curves and frames in place of their names; what cannot be fetched is as it was before.
  async filled(data) {
    const { feed: { at }, versions } = data;
    const frames = Promise.all(Object.entries(data.frames).map((entry) => this.frame(at, ...entry)));
    this.working = this.working.then(() => this.follow(at, versions)); // one after the other
    await this.working;
    const came = (await frames).filter(([, frame]) => frame !== undefined);
    return { ...data, curves: this.curves, frames: Object.fromEntries(came) };
  }

  // What is new of a live run, between two reruns; null where nothing is.
  async news({ feed: { at }, version }) {
    try {
      const found = await read(`${at}/now.json`, { cache: "no-store" });
      return found.version > version ? legible(found) : null;
    } catch {
      return null; // not yet there, or no longer
    }
  }

  async follow(at, versions) {
    const long = Object.values(this.curves).some(({ x }) => x.length > MOST_POINTS);
    const files = missing(versions, this.have, long);
    try {
      const found = await Promise.all(files.map((name) => read(`${at}/${name}.json`)));
      const whole = files.length && !files[0].includes("-");
      this.curves = found.reduce(joined, whole ? {} : this.curves);
      this.have = Math.max(this.have, versions.at(-1));
    } catch (error) {
      console.warn("The curves could not be fetched; they are asked for again.", error);
    }
  }

  async frame(at, step, name) {
    if (name == null || typeof name === "object") return [step, name];
    if (!this.sheets.has(name)) this.sheets.set(name, read(`${at}/${name}`));
    const sheet = this.sheets.get(name), [oldest] = this.sheets.keys();
    if (this.sheets.size > RECENT) this.sheets.delete(oldest);
    try {
      return [step, await sheet];
    } catch {
      this.sheets.delete(name);
      return [step, undefined];
    }
  }
}
