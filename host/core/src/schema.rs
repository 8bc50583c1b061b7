//! Schemas of the words that are text in JSON, for the OpenAPI document of the API.

use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::quantity::{Moment, Size, Span};
use crate::{
    BatchId, BatchRef, Digest, PluginName, Priority, QueueName, TaskId, TaskRef, TaskType,
    TenantName, TermKey,
};

/// Schemas that stand where they are used and have no name of their own.
macro_rules! inline {
    ($($type:ty => $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $type {}
    )*};
}

inline! {
    QueueName => name("a queue");
    TenantName => name("a tenant");
    TaskType => name("a task type");
    PluginName => name("a plugin");
    TaskId => uuid();
    BatchId => uuid();
    TaskRef => text("`queue/id` of a task");
    BatchRef => text("`queue/id` of a batch");
    TermKey => text("printable text without spaces").min_length(Some(1)).max_length(Some(256));
    Digest => text("sha256 in hex").pattern(Some("^[0-9a-f]{64}$"));
    Span => text("a duration with its unit, such as `250ms`, `10s`, `5m`, `2h` or `7d`");
    Moment => text("a time with its zone, RFC 3339")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    Priority => ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(100))
        .description(Some("from 0, least, to 100, most urgent"));
    Size => OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)))
        .item(ObjectBuilder::new().schema_type(Type::String))
        .description(Some("bytes, as a number or with a unit, such as `64 KiB` or `32 MiB`"));
}

fn text(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what))
}

fn name(of: &str) -> ObjectBuilder {
    text(&format!("the name of {of}")).pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))
}

fn uuid() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}
