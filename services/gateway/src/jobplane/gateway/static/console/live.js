// Turns the event stream into calm refreshes: many events become one `jobs:changed` or `audit:changed`,
// and the light in the header tells whether the page is live.

const QUICK_MS = 250; // the first change shows at once, to the eye
const STEADY_MS = 700; // while changes keep coming, the page moves no faster than this
const RECONNECT_MS = 2000;
const AUDIT_MS = 1000; // the audit log is folded a moment after the event
const SPEAK_MS = 10_000; // screen readers hear a summary, not every change
const MANY_CHANGED = "operation.jobs_changed.v1"; // a bulk operation tells of many jobs in one event

const light = document.getElementById("live");
const refreshes = {
  "jobs:changed": { timer: null, at: 0 },
  "audit:changed": { timer: null, at: 0 },
};

function show(state, words) {
  if (light.dataset.state === state) return;
  light.dataset.state = state;
  light.firstElementChild.textContent = words;
}

function refresh(name, quick = QUICK_MS) {
  const state = refreshes[name];
  if (state.timer) return;
  const busy = performance.now() - state.at < STEADY_MS;
  state.timer = setTimeout(() => {
    state.timer = null;
    state.at = performance.now();
    document.dispatchEvent(new CustomEvent(name));
  }, busy ? Math.max(quick, STEADY_MS) : quick);
}

// Whether an event is about what the page shows: all jobs, or one of them.
function concerns(message) {
  const ofMany = message.event === MANY_CHANGED;
  if (!ofMany && !message.event?.startsWith("job.")) return false;
  const shown = document.querySelector("[data-subject]")?.dataset.subject;
  if (!shown) return true;
  try {
    const { subject, data } = JSON.parse(message.data);
    return ofMany ? data.items.some((item) => item.job === shown) : subject === shown;
  } catch {
    return true; // better one refresh too many than a stale page
  }
}

function refreshAll() {
  refresh("jobs:changed");
  refresh("audit:changed", AUDIT_MS);
}

if (light) {
  light.addEventListener("htmx:sse:after:connection", () => {
    show("live", "Live");
    refreshAll(); // what happened between the rendering of the page, or a break, and now was not streamed to us
  });
  light.addEventListener("htmx:sse:before:message", (event) => {
    const { message } = event.detail;
    if (message.event === "reset") return refreshAll();
    if (concerns(message)) refresh("jobs:changed");
    refresh("audit:changed", AUDIT_MS);
  });
  light.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) location.reload(); // the session ended: the page sends us to the login
    else show("reconnecting", "Reconnecting");
  });
  light.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0 && !document.hidden) show("reconnecting", "Reconnecting");
  });
  // The extension repeats a broken connection, but not one that never came to be.
  light.addEventListener("htmx:finally:request", () => {
    if (light._htmx?.sse) return;
    show("reconnecting", "Reconnecting");
    setTimeout(() => light.dispatchEvent(new CustomEvent("live:connect")), RECONNECT_MS);
  });
  light.addEventListener("htmx:response:error", (event) => {
    if (event.detail.ctx.response.status === 401) location.reload();
  });
}

// A morph may take away the button that had the focus (a job finished while "Cancel" was focused): keep the place.
let focusedRow = null;
document.addEventListener("htmx:before:swap", () => {
  focusedRow = document.activeElement?.closest("tr[id]")?.id ?? null;
});
document.addEventListener("htmx:after:swap", () => {
  if (focusedRow && document.activeElement === document.body) {
    document.getElementById(focusedRow)?.querySelector("a")?.focus({ preventScroll: true });
  }
  focusedRow = null;
});

// A refresh may have waited behind a new filter: it asks for what the page shows now, not for what it showed then.
document.addEventListener("htmx:before:request", (event) => {
  const { sourceElement, request } = event.detail.ctx;
  if (sourceElement?.matches?.("#jobs, #job")) request.action = sourceElement.getAttribute("hx-get");
});

// A refresh that failed is repeated; the banner that came with it says why.
document.addEventListener("htmx:finally:request", (event) => {
  const { sourceElement, response } = event.detail.ctx;
  if (!sourceElement?.matches?.("#jobs, #job")) return;
  if (!response || response.status >= 500) setTimeout(() => refresh("jobs:changed"), RECONNECT_MS);
});

let spoken = document.querySelector("[data-spoken]")?.dataset.spoken;
setInterval(() => {
  const now = document.querySelector("[data-spoken]")?.dataset.spoken;
  if (now === undefined || now === spoken) return;
  spoken = now;
  document.getElementById("spoken").textContent = now;
}, SPEAK_MS);

// A page that shows only "does not answer" tries again by itself.
if (document.querySelector("[data-retry]")) setTimeout(() => location.reload(), 2 * RECONNECT_MS);
