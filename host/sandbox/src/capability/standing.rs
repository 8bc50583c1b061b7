//! What a plugin asks for, held against what it was granted and what the host has.

use bulkhead_core::TenantName;
use wasmtime::component::Linker;

use super::{CAPABILITIES, Capability, CapabilitySet, Interface, Standing};
use crate::compartment::Compartment;
use crate::grants::Grants;

/// Missing imports that a refusal names.
const MAX_NAMED: usize = 8;

/// An import that a plugin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The import, with its version.
    pub import: String,
    /// The key of the grant by which it has it; none where it needs none.
    pub grant: Option<&'static str>,
}

/// An import that a plugin does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The import, with its version. Text of the file: escape it before showing it.
    pub import: String,
    /// Why not. Escaped.
    pub reason: String,
    /// The line under `[grants]` that would give it; none if no line would.
    pub line: Option<&'static str>,
}

/// What a plugin asks for, has and misses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What it imports.
    pub asked: Vec<String>,
    /// What it imports and has, in the order of its imports.
    pub granted: Vec<Granted>,
    /// What it imports and does not have.
    pub missing: Vec<Missing>,
}

/// The interfaces that one plugin is linked to.
pub(crate) struct Grant {
    interfaces: Vec<&'static Interface>,
    /// The capabilities that it uses by grants.
    pub(crate) uses: CapabilitySet,
}

/// What came of one import.
enum Found {
    Has(&'static Interface, Option<&'static str>),
    Lacks(String, Option<&'static str>),
}

impl Inspection {
    pub(crate) fn of(imports: &[String], grants: &Grants, offers: CapabilitySet) -> Self {
        let mut inspection = Self { asked: imports.to_vec(), ..Self::default() };
        for import in imports {
            match find(import, grants, offers) {
                Found::Has(_, grant) => {
                    inspection.granted.push(Granted { import: import.clone(), grant });
                }
                Found::Lacks(reason, line) => {
                    inspection.missing.push(Missing { import: import.clone(), reason, line });
                }
            }
        }
        inspection
    }

    /// The lines that grant what is missing, to be put under `[grants]`.
    #[must_use]
    pub fn lines(&self) -> Vec<&'static str> {
        let mut lines: Vec<&'static str> = Vec::new();
        for line in self.missing.iter().filter_map(|missing| missing.line) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// What is missing and what to do, for the plugin of this name, the operator's or a
    /// tenant's; none if nothing is.
    #[must_use]
    pub fn refusal(&self, plugin: &str, tenant: Option<&TenantName>) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let named: Vec<&str> =
            self.missing.iter().take(MAX_NAMED).map(|missing| missing.reason.as_str()).collect();
        let mut text = format!("it imports what it does not have: {}", named.join("; "));
        if self.missing.len() > named.len() {
            text.push_str(&format!("; and {} more", self.missing.len() - named.len()));
        }
        let lines = self.lines();
        if !lines.is_empty() {
            let key = toml_key(plugin);
            let place = match tenant {
                Some(tenant) => {
                    let tenant = toml_key(tenant.as_str());
                    format!("\nadd this to bulkhead.toml:\n[tenants.{tenant}.grants.{key}]")
                }
                None => format!(
                    "\nadd this to {plugin}.toml, or to bulkhead.toml under [grants.{key}]:\n[grants]"
                ),
            };
            text.push_str(&format!("{place}\n{}", lines.join("\n")));
        }
        Some(text)
    }
}

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

impl Grant {
    /// What a plugin that asks for `imports` is linked to, or what it misses.
    pub(crate) fn of(
        imports: &[String],
        grants: &Grants,
        offers: CapabilitySet,
    ) -> Result<Self, Inspection> {
        let mut grant = Self { interfaces: Vec::new(), uses: CapabilitySet::default() };
        for import in imports {
            let Found::Has(interface, key) = find(import, grants, offers) else {
                return Err(Inspection::of(imports, grants, offers));
            };
            if let Some(key) = key {
                grant.uses.add(key);
            }
            if !grant.interfaces.iter().any(|known| std::ptr::eq(*known, interface)) {
                grant.interfaces.push(interface);
            }
        }
        Ok(grant)
    }

    /// Link these interfaces and no others.
    pub(crate) fn link(&self, linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
        let links = self.interfaces.iter().filter_map(|interface| interface.link);
        links.into_iter().try_for_each(|link| link(linker))
    }
}

/// The interface that serves an import such as `wasi:io/poll@0.2.3`, or why there is none.
fn find(import: &str, grants: &Grants, offers: CapabilitySet) -> Found {
    let shown: String = import.escape_debug().take(200).collect();
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    let known = CAPABILITIES.iter().find_map(|capability| {
        let interface = capability.interfaces.iter().find(|interface| interface.name == name)?;
        Some((capability, interface))
    });
    let Some((capability, interface)) = known else {
        let reason = format!("`{shown}` cannot be provided by this version of Bulkhead");
        return Found::Lacks(reason, None);
    };
    let patch = version.strip_prefix(interface.version);
    if !patch.is_some_and(|patch| patch.starts_with('.')) {
        let served = interface.version;
        let reason = format!("`{shown}` is a version that is not served; build against {served}");
        return Found::Lacks(reason, None);
    }
    judge(capability, interface, &shown, grants, offers)
}

fn judge(
    capability: &'static Capability,
    interface: &'static Interface,
    shown: &str,
    grants: &Grants,
    offers: CapabilitySet,
) -> Found {
    match ((capability.standing)(grants, offers), interface.link) {
        (Standing::Default, Some(_)) => Found::Has(interface, None),
        (Standing::Granted, Some(_)) => Found::Has(interface, capability.grant),
        (Standing::Absent(why), _) => {
            let key = capability.grant.unwrap_or_default();
            Found::Lacks(format!("`{shown}` was granted by `{key}`, but {why}"), None)
        }
        (_, None) => {
            Found::Lacks(format!("`{shown}` cannot be provided by this version of Bulkhead"), None)
        }
        (Standing::NotGranted, Some(_)) => {
            let key = capability.grant.unwrap_or_default();
            Found::Lacks(format!("`{shown}` needs the grant `{key}`"), Some(capability.line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{EnqueueGrant, FolderQuota, FsGrant, HttpGrant, KvGrant};

    fn names(imports: &[&str]) -> Vec<String> {
        imports.iter().map(|name| (*name).to_owned()).collect()
    }

    fn linked(imports: &[&str], grants: &Grants) -> Result<usize, String> {
        let imports = names(imports);
        Grant::of(&imports, grants, CapabilitySet::ALL)
            .map(|grant| grant.interfaces.len())
            .map_err(|inspection| inspection.refusal("shape", None).unwrap_or_default())
    }

    #[test]
    fn only_what_is_asked_for_is_linked_and_once() {
        let none = Grants::default();
        assert_eq!(linked(&[], &none), Ok(0));
        assert_eq!(linked(&["wasi:io/poll@0.2.0", "wasi:io/poll@0.2.9"], &none), Ok(1));
        let all = Grants { kv: Some(KvGrant::default()), config: true, ..Grants::default() };
        assert_eq!(linked(&["wasi:io/poll@0.2.0"], &all), Ok(1), "a grant by itself links nothing");
    }

    #[test]
    fn what_nobody_provides_is_named() {
        let sockets = ["wasi:io/poll@0.2.0", "wasi:sockets/tcp@0.2.0"];
        let sockets = linked(&sockets, &Grants::default()).unwrap_err();
        assert!(sockets.contains("`wasi:sockets/tcp@0.2.0` cannot be provided"), "{sockets}");
        assert!(!sockets.contains("poll") && !sockets.contains("[grants]"), "{sockets}");
        let later = linked(&["wasi:io/poll@0.3.0"], &Grants::default()).unwrap_err();
        assert!(later.contains("build against 0.2"), "{later}");
        for odd in ["", "@", "wasi:io/poll", "wasi:io/poll@0.20.0", "wasi:io/pollx@0.2.0"] {
            assert!(linked(&[odd], &Grants::default()).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_is_not_granted_comes_with_the_lines_to_add() {
        let imports = names(&[
            "wasi:clocks/wall-clock@0.2.0",
            "bulkhead:handler/kv@0.1.0",
            "bulkhead:handler/secrets@0.1.0",
            "bulkhead:handler/enqueue@0.1.0",
            "bulkhead:handler/enqueue@0.1.3",
        ]);
        let grants = Grants { secrets: ["token".to_owned()].into(), ..Grants::default() };
        let inspection = Inspection::of(&imports, &grants, CapabilitySet::ALL);
        assert_eq!(inspection.granted.len(), 2);
        assert_eq!(inspection.granted[0].grant, None);
        assert_eq!(inspection.granted[1].grant, Some("secrets"));
        let lines = ["kv = true", "enqueue = { types = [\"TYPE\"] }"];
        assert_eq!(inspection.lines(), lines);
        let refusal = inspection.refusal("my.plugin", None).unwrap();
        let block = format!("[grants.\"my.plugin\"]:\n[grants]\n{}", lines.join("\n"));
        assert!(refusal.ends_with(&block), "{refusal}");
        assert!(refusal.contains("`bulkhead:handler/kv@0.1.0` needs the grant `kv`"), "{refusal}");
        // What a tenant brought is granted by the operator alone.
        let refusal = inspection.refusal("resize", Some(&TenantName::new("a.b").unwrap())).unwrap();
        let block =
            format!("bulkhead.toml:\n[tenants.\"a.b\".grants.resize]\n{}", lines.join("\n"));
        assert!(refusal.ends_with(&block) && !refusal.contains("resize.toml"), "{refusal}");
    }

    #[test]
    fn each_grant_gives_its_own_interface_and_no_other() {
        let grants: [(&str, Grants); 5] = [
            (
                "bulkhead:handler/kv@0.1.0",
                Grants { kv: Some(KvGrant::default()), ..Grants::default() },
            ),
            ("bulkhead:handler/config@0.1.0", Grants { config: true, ..Grants::default() }),
            (
                "wasi:http/outgoing-handler@0.2.9",
                Grants { http: Some(HttpGrant::default()), ..Grants::default() },
            ),
            (
                "bulkhead:handler/secrets@0.1.0",
                Grants { secrets: ["token".to_owned()].into(), ..Grants::default() },
            ),
            (
                "bulkhead:handler/enqueue@0.1.0",
                Grants { enqueue: Some(EnqueueGrant::default()), ..Grants::default() },
            ),
        ];
        for (at, (import, _)) in grants.iter().enumerate() {
            for (other, (_, given)) in grants.iter().enumerate() {
                assert_eq!(linked(&[import], given).is_ok(), at == other, "{import} {given:?}");
            }
        }
    }

    #[test]
    fn what_the_host_does_not_have_is_refused_whatever_was_granted() {
        let grants = Grants {
            kv: Some(KvGrant::default()),
            config: true,
            http: Some(HttpGrant::default()),
            fs: Some(FsGrant {
                scratch: Some(FolderQuota { bytes: 1, files: 1 }),
                dirs: Vec::new(),
            }),
            ..Grants::default()
        };
        for import in [
            "bulkhead:handler/kv@0.1.0",
            "bulkhead:handler/config@0.1.0",
            "wasi:http/types@0.2.0",
            "wasi:filesystem/types@0.2.0",
        ] {
            let inspection = Inspection::of(&names(&[import]), &grants, CapabilitySet::default());
            let missing = &inspection.missing[0];
            assert!(missing.reason.contains("this ") && missing.line.is_none(), "{missing:?}");
        }
        let empty = Grants { fs: Some(FsGrant::default()), ..Grants::default() };
        let files = names(&["wasi:filesystem/types@0.2.0"]);
        assert!(Grant::of(&files, &empty, CapabilitySet::default()).is_ok());
    }
}
