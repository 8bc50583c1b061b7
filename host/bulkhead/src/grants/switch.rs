//! A capability's line in a table of grants: `true`, `false` or a table of quotas.
//!
//! A value is checked where it is read, so that a parser that knows its place says it.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// A table of quotas as it is written.
pub(super) trait Written {
    /// The capability's key.
    const KEY: &'static str;

    /// What comes of it.
    type Grant;

    /// What `true` grants, or why it says too little.
    fn on() -> Result<Self::Grant, &'static str>;

    /// What the table grants, if it makes sense.
    fn checked(self) -> Result<Self::Grant, String>;
}

/// What is said of a capability, if anything is: that nothing is granted, or this.
pub(super) fn switch<'de, T, D>(from: D) -> Result<Option<Option<T::Grant>>, D::Error>
where
    T: Written + Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_any(BoolOrTable::<T>(PhantomData))
}

struct BoolOrTable<T>(PhantomData<T>);

impl<'de, T: Written + Deserialize<'de>> Visitor<'de> for BoolOrTable<T> {
    type Value = Option<Option<T::Grant>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be `true`, `false` or a table", T::KEY)
    }

    /// What YAML makes of a key without a value.
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
        on.then(T::on).transpose().map(Some).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let table = T::deserialize(MapAccessDeserializer::new(map))?;
        table.checked().map(|granted| Some(Some(granted))).map_err(de::Error::custom)
    }
}
