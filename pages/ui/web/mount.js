// How a component comes onto the page: what `mounting` returns, Streamlit calls with the data of each rerun.

const told = (link, done) => ["load", "error"].forEach((name) => link.addEventListener(name, done));
const loaded = (link) => link.sheet || new Promise((done) => told(link, done));

// Where a component's elements go, as soon as its style sheets are there.
export async function hostOf(parent) {
  await Promise.all([...parent.querySelectorAll("link[rel=stylesheet]")].map(loaded));
  return parent.querySelector(".dfkd-host");
}

// The view is made once for a place on the page and outlives reruns.
export const mounting = (View) => async ({ data, parentElement, setStateValue }) => {
  const host = await hostOf(parentElement);
  host.view ??= new View(host);
  host.view.update(data, setStateValue);
};
