// What is done, and what is asked before. The browser gives the focus back when a dialog closes.

import { h, note } from "./dom.js";

/** A button that does something which may fail, and says how it went. */
export function act(text, what, options = {}) {
  const press = async ({ currentTarget: button }) => {
    // Not `disabled`, which would take the focus away.
    if (button.ariaDisabled === "true") return;
    if (options.confirm && !(await agreed(options.confirm, text))) return;
    button.ariaDisabled = "true";
    try {
      const said = await what();
      if (said) note(said);
    } catch (problem) {
      note(problem.message, true);
    } finally {
      button.ariaDisabled = null;
      if (!button.isConnected && document.activeElement === document.body) document.getElementById("main").focus();
    }
  };
  return h("button", { type: "button", class: options.class, title: options.title, onclick: press }, text);
}

function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
  return dialog;
}

/** Ask before what cannot be taken back. */
export function agreed(question, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": action, onclose: () => resolve(dialog.returnValue === "yes") },
      h("p", {}, question),
      h("div", { class: "row end" },
        h("button", { type: "button", onclick: () => dialog.close("no") }, "Leave it"),
        h("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, action)));
    open(dialog);
  });
}

/** A form in a dialog; `send` gets it, and the dialog stays open if that fails. */
export function ask(title, fields, action, send) {
  const failed = h("p", { class: "failed", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      const said = await send(form);
      dialog.close();
      if (said) note(said);
    } catch (problem) {
      failed.textContent = problem.message;
    }
  };
  const form = h("form", { class: "stack", onsubmit: submit }, fields, failed,
    h("div", { class: "row end" },
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "submit", class: "main" }, action)));
  const dialog = open(h("dialog", { "aria-label": title }, h("h2", {}, title), form));
}

/** Say something in a dialog. */
export function tell(title, ...children) {
  const dialog = h("dialog", { "aria-label": title }, h("h2", {}, title), children,
    h("div", { class: "row end" }, h("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close")));
  open(dialog);
}
