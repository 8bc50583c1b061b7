//! What a component asks for and handles, as documents.

use bulkhead_api::document::{
    AccessDocument, DescriptionDocument, GrantedDocument, HandlerDocument, MissingDocument,
};
use bulkhead_sandbox::{Inspection, Plugin};

use crate::config::quantity::Span;

/// What a component asks for, has and misses.
#[must_use]
pub fn access(access: &Inspection) -> AccessDocument {
    let granted = access.granted.iter().map(|granted| GrantedDocument {
        import: granted.import.clone(),
        grant: granted.grant.map(str::to_owned),
    });
    let missing = access.missing.iter().map(|missing| MissingDocument {
        import: missing.import.clone(),
        reason: missing.reason.clone(),
        line: missing.line.map(str::to_owned),
    });
    AccessDocument {
        asked: access.asked.clone(),
        granted: granted.collect(),
        missing: missing.collect(),
    }
}

/// What a component says of itself.
#[must_use]
pub fn described(plugin: &Plugin) -> DescriptionDocument {
    let description = plugin.description();
    let handlers = description.handlers.iter().map(|handler| HandlerDocument {
        task_type: handler.task_type.to_string(),
        description: handler.description.clone(),
        limits: handler.limits,
        retry: handler.retry.clone(),
        max_batch: handler.max_batch,
        input_schema: handler
            .input_schema
            .as_deref()
            .and_then(|schema| serde_json::from_str(schema).ok()),
    });
    DescriptionDocument {
        name: description.name.clone(),
        version: description.version.clone(),
        kind: plugin.kind().to_string(),
        compile_ms: Span(plugin.load_times().compile).as_ms(),
        handlers: handlers.collect(),
    }
}
