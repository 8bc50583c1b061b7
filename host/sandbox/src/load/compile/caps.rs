//! Bounds on what a file may consist of, counted over all modules and components in it before
//! anything is validated: what is small in bytes can be large in work.
//!
//! Each bound is several times what large real plugins (interpreters compiled to
//! WebAssembly) have.

use wasmparser::{Parser, Payload};

use crate::text::bounded;
use crate::{Gate, Rejection};

/// Modules and components inside one another. Toolchains need two or three levels, composed
/// components a few more; the time to compile grows with the square.
const MAX_DEPTH: usize = 20;

/// Modules and components in all.
const MAX_MODULES: u64 = 1_000;

/// Functions with a body in all.
const MAX_FUNCTIONS: u64 = 200_000;

/// Types in all, those of components included.
const MAX_TYPES: u64 = 50_000;

/// Imports in all, at every level.
const MAX_IMPORTS: u64 = 10_000;

/// Exports in all, at every level.
const MAX_EXPORTS: u64 = 100_000;

/// Instances, aliases and functions that components make of one another.
const MAX_WIRES: u64 = 100_000;

/// Data and element segments in all.
const MAX_SEGMENTS: u64 = 100_000;

/// Bytes of one function's body.
const MAX_BODY_BYTES: usize = 2 << 20;

/// Sections in all, custom ones included.
const MAX_SECTIONS: u64 = 100_000;

#[derive(Default)]
struct Counts {
    modules: u64,
    functions: u64,
    types: u64,
    imports: u64,
    exports: u64,
    wires: u64,
    segments: u64,
    sections: u64,
}

/// Whether `bytes` keeps the bounds.
pub(super) fn check(bytes: &[u8]) -> Result<(), Rejection> {
    let mut counts = Counts::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| unreadable(&error))?;
        match &payload {
            Payload::Version { .. } => {
                depth += 1;
                counts.modules += 1;
                within(depth as u64, MAX_DEPTH as u64, "modules inside one another")?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionEntry(body) => {
                let length = body.range().len();
                if length > MAX_BODY_BYTES {
                    return Err(refused(format!(
                        "one of its functions has {length} bytes; at most {MAX_BODY_BYTES} are \
                         allowed"
                    )));
                }
            }
            _ => counts.add(&payload)?,
        }
        counts.check()?;
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), Rejection> {
        self.sections += 1;
        match payload {
            // Groups and compact forms hold several under one count; each takes bytes, so the
            // walk is bounded by the file.
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    let group = group.map_err(|error| unreadable(&error))?;
                    self.types += group.types().len() as u64;
                    within(self.types, MAX_TYPES, "types")?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    import.map_err(|error| unreadable(&error))?;
                    self.imports += 1;
                    within(self.imports, MAX_IMPORTS, "imports")?;
                }
            }
            Payload::CoreTypeSection(section) => self.types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => self.types += u64::from(section.count()),
            Payload::ComponentImportSection(section) => {
                self.imports += u64::from(section.count());
            }
            Payload::ExportSection(section) => self.exports += u64::from(section.count()),
            Payload::ComponentExportSection(section) => {
                self.exports += u64::from(section.count());
            }
            Payload::FunctionSection(section) => self.functions += u64::from(section.count()),
            Payload::CodeSectionStart { count, .. } if u64::from(*count) > MAX_FUNCTIONS => {
                self.functions += u64::from(*count);
            }
            Payload::InstanceSection(section) => self.wires += u64::from(section.count()),
            Payload::ComponentInstanceSection(section) => {
                self.wires += u64::from(section.count());
            }
            Payload::ComponentAliasSection(section) => self.wires += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => {
                self.wires += u64::from(section.count());
            }
            Payload::ElementSection(section) => self.segments += u64::from(section.count()),
            Payload::DataSection(section) => self.segments += u64::from(section.count()),
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Rejection> {
        within(self.modules, MAX_MODULES, "modules")?;
        within(self.functions, MAX_FUNCTIONS, "functions")?;
        within(self.types, MAX_TYPES, "types")?;
        within(self.imports, MAX_IMPORTS, "imports")?;
        within(self.exports, MAX_EXPORTS, "exports")?;
        within(self.wires, MAX_WIRES, "instances and aliases")?;
        within(self.segments, MAX_SEGMENTS, "data and element segments")?;
        within(self.sections, MAX_SECTIONS, "sections")
    }
}

fn within(count: u64, bound: u64, what: &str) -> Result<(), Rejection> {
    if count <= bound {
        return Ok(());
    }
    Err(refused(format!("it has more than {bound} {what}, which no plugin needs")))
}

fn unreadable(error: &wasmparser::BinaryReaderError) -> Rejection {
    refused(format!(
        "it is not valid: {} (at offset {:#x}); is it half-written?",
        bounded(error.message().to_owned(), 512),
        error.offset()
    ))
}

fn refused(message: String) -> Rejection {
    Rejection::new(Gate::Invalid, message)
}
