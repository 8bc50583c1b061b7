//! What people do to a page: the mouse goes where something is seen, keys go where the focus is.

use std::path::Path;

use serde_json::{Value, json};

use super::Tab;

/// Where the one visible element is that a predicate finds, in the front dialog if one is open;
/// nothing while it is not there, covered, or on its way.
const PLACE: &str = r#"(async (find) => {
  const root = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document;
  const found = find(root).filter((one) => one.checkVisibility());
  if (found.length !== 1) return null;
  found[0].scrollIntoView({ block: "center", inline: "center" });
  const before = found[0].getBoundingClientRect();
  await new Promise((done) => requestAnimationFrame(done));
  const box = found[0].getBoundingClientRect();
  if (box.top !== before.top || !found[0].isConnected) return null;
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const hit = document.elementFromPoint(x, y);
  return hit && (found[0].contains(hit) || hit.contains(found[0])) ? { x, y } : null;
})"#;

impl Tab {
    /// Click the one button or link that says this.
    #[track_caller]
    pub fn click(&self, text: &str) {
        let find = format!(
            "(root) => [...root.querySelectorAll('button, a, summary')].filter((one) => one.textContent.trim() === {})",
            json!(text)
        );
        self.click_found(text, &find);
    }

    /// Click the one button or link within a part of the page that says this.
    #[track_caller]
    pub fn click_in(&self, part: &str, text: &str) {
        let find = format!(
            "(root) => [...root.querySelectorAll({} + ' :is(button, a)')].filter((one) => one.textContent.trim() === {})",
            json!(part),
            json!(text)
        );
        self.click_found(text, &find);
    }

    /// Click the one visible element of a selector.
    #[track_caller]
    pub fn click_on(&self, selector: &str) {
        let find = format!("(root) => [...root.querySelectorAll({})]", json!(selector));
        self.click_found(selector, &find);
    }

    #[track_caller]
    fn click_found(&self, what: &str, find: &str) {
        let place = self.until(&format!("`{what}` can be clicked"), &format!("{PLACE}({find})"));
        self.mouse(&place, "mouseMoved");
        self.mouse(&place, "mousePressed");
        self.mouse(&place, "mouseReleased");
    }

    fn mouse(&self, place: &Value, kind: &str) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({"type": kind, "x": place["x"], "y": place["y"], "button": button, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Move the mouse to the middle of the one visible element of a selector.
    #[track_caller]
    pub fn point_at(&self, selector: &str) {
        let find = format!("(root) => [...root.querySelectorAll({})]", json!(selector));
        let place = self.until(&format!("`{selector}` is seen"), &format!("{PLACE}({find})"));
        self.mouse(&place, "mouseMoved");
    }

    /// Write into the field with this label, in place of what is there.
    #[track_caller]
    pub fn write(&self, label: &str, text: &str) {
        let field = format!(
            "[...([...document.querySelectorAll('dialog[open]')].at(-1) ?? document).querySelectorAll('label, textarea')].filter((one) => (one.ariaLabel ?? one.firstChild?.textContent) === {0})\
             .map((one) => one.matches('textarea') ? one : one.querySelector('input, textarea')).find((one) => one?.checkVisibility())",
            json!(label)
        );
        self.until(&format!("there is a field `{label}`"), &format!("(() => {{ const field = {field}; field?.focus(); field?.select(); return Boolean(field); }})()"));
        if text.is_empty() {
            self.press("Delete");
        } else {
            self.call("Input.insertText", json!({"text": text}));
        }
    }

    /// Choose a file in the one file field of this name.
    #[track_caller]
    pub fn choose(&self, name: &str, file: &Path) {
        let field = json!({"expression": format!("document.querySelector('input[type=file][name={name}]')")});
        let field = self.call("Runtime.evaluate", field);
        let chosen = json!({"files": [file], "objectId": field["result"]["objectId"]});
        self.call("DOM.setFileInputFiles", chosen);
    }

    /// Press a key by its name, as `Tab`, `Enter`, `ArrowDown`, `Shift+Tab` or a letter.
    pub fn press(&self, key: &str) {
        let (modifiers, key) = key.strip_prefix("Shift+").map_or((0, key), |key| (8, key));
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "Delete" => (46, ""),
            "Space" => (32, " "),
            "PageDown" => (34, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            letter => (i64::from(letter.to_ascii_uppercase().as_bytes()[0]), letter),
        };
        let name = if key == "Space" { " " } else { key };
        let event = |kind: &str, text: &str| json!({"type": kind, "key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, "text": text});
        self.call(
            "Input.dispatchKeyEvent",
            event(if text.is_empty() { "rawKeyDown" } else { "keyDown" }, text),
        );
        self.call("Input.dispatchKeyEvent", event("keyUp", ""));
    }
}
