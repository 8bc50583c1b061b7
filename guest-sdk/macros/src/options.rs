//! The options of the attribute: `key = literal`, each at most once, every value
//! checked here so that a mistake is shown at compile time and at its place.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Lit, Token};

use crate::quantity;
use crate::waits::{Growth, MAX_DELAYS, Waits};

/// All keys, as messages list them.
const KEYS: &str = "task_type, description, fuel, memory, timeout, max_attempts, max_age, \
                    backoff, initial_delay, max_delay, delays, batch";

/// Most tasks of one call.
const MAX_BATCH: u32 = 256;

/// What the attribute says; nothing where it is silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) task_type: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) fuel: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) max_age_ms: Option<u64>,
    pub(crate) waits: Waits,
    pub(crate) batch: Option<u32>,
}

/// One `key = literal`.
struct Entry {
    key: Ident,
    value: Lit,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            let message = format!("`{key}` needs a value: write `{key} = ..`");
            return Err(Error::new(key.span(), message));
        }
        input.parse::<Token![=]>()?;
        let value = input.parse().map_err(|error| {
            Error::new(error.span(), format!("the value of `{key}` must be a literal"))
        })?;
        Ok(Self { key, value })
    }
}

impl Options {
    /// Read the attribute's tokens.
    pub(crate) fn read(tokens: TokenStream) -> syn::Result<Self> {
        let entries = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut options = Self::default();
        for entry in entries {
            options.take(&entry)?;
        }
        options.waits.check()?;
        Ok(options)
    }

    fn take(&mut self, entry: &Entry) -> syn::Result<()> {
        match entry.key.to_string().as_str() {
            "task_type" => set(&mut self.task_type, entry, task_type(entry)?),
            "description" => set(&mut self.description, entry, text(entry)?),
            "fuel" => set(&mut self.fuel, entry, integer(entry)?),
            "memory" => set(&mut self.memory_bytes, entry, size(entry)?),
            "timeout" => set(&mut self.timeout_ms, entry, duration(entry)?),
            "max_attempts" => set(&mut self.max_attempts, entry, integer(entry)?),
            "max_age" => set(&mut self.max_age_ms, entry, duration(entry)?),
            "backoff" => set(&mut self.waits.growth, entry, growth(entry)?),
            "initial_delay" => set(&mut self.waits.initial_ms, entry, duration(entry)?),
            "max_delay" => set(&mut self.waits.max_ms, entry, duration(entry)?),
            "delays" => set(&mut self.waits.delays_ms, entry, delays(entry)?),
            "batch" => set(&mut self.batch, entry, batch(entry)?),
            unknown => Err(Error::new(
                entry.key.span(),
                format!("`{unknown}` is no option of `handler`; the options are {KEYS}"),
            )),
        }
    }
}

fn set<T>(place: &mut Option<T>, entry: &Entry, value: T) -> syn::Result<()> {
    if place.is_some() {
        let message = format!("`{}` is given twice; keep one", entry.key);
        return Err(Error::new(entry.key.span(), message));
    }
    *place = Some(value);
    Ok(())
}

fn text(entry: &Entry) -> syn::Result<String> {
    match &entry.value {
        Lit::Str(text) => Ok(text.value()),
        other => {
            Err(Error::new(other.span(), format!("the value of `{}` must be a string", entry.key)))
        }
    }
}

fn integer<N>(entry: &Entry) -> syn::Result<N>
where
    N: std::str::FromStr<Err: std::fmt::Display> + PartialEq + From<u8>,
{
    let Lit::Int(number) = &entry.value else {
        let message = format!("the value of `{}` must be a whole number", entry.key);
        return Err(Error::new(entry.value.span(), message));
    };
    let value: N = number.base10_parse()?;
    if value == N::from(0) {
        let message = format!("the value of `{}` must be at least 1", entry.key);
        return Err(Error::new(number.span(), message));
    }
    Ok(value)
}

fn duration(entry: &Entry) -> syn::Result<u64> {
    quantity::milliseconds(&text(entry)?).map_err(|message| Error::new(entry.value.span(), message))
}

fn size(entry: &Entry) -> syn::Result<u64> {
    quantity::bytes(&text(entry)?).map_err(|message| Error::new(entry.value.span(), message))
}

fn batch(entry: &Entry) -> syn::Result<u32> {
    let size = integer(entry)?;
    if (2..=MAX_BATCH).contains(&size) {
        return Ok(size);
    }
    let message = format!("`batch` is how many tasks one call takes; use 2 to {MAX_BATCH}");
    Err(Error::new(entry.value.span(), message))
}

fn delays(entry: &Entry) -> syn::Result<Vec<u64>> {
    let refuse = |message| Error::new(entry.value.span(), message);
    let text = text(entry)?;
    let delays: Result<Vec<u64>, String> =
        text.split(',').map(|wait| quantity::milliseconds(wait.trim())).collect();
    let delays = delays.map_err(refuse)?;
    if delays.len() > MAX_DELAYS {
        let message = format!("`delays` lists {} waits; use at most {MAX_DELAYS}", delays.len());
        return Err(refuse(message));
    }
    Ok(delays)
}

fn growth(entry: &Entry) -> syn::Result<Growth> {
    match text(entry)?.as_str() {
        "fixed" => Ok(Growth::Fixed),
        "linear" => Ok(Growth::Linear),
        "exponential" => Ok(Growth::Exponential),
        other => Err(Error::new(
            entry.value.span(),
            format!("`{other}` is no backoff; write fixed, linear or exponential"),
        )),
    }
}

fn task_type(entry: &Entry) -> syn::Result<String> {
    let name = text(entry)?;
    let fits = (1..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        return Ok(name);
    }
    Err(Error::new(
        entry.value.span(),
        format!(
            "`{}` is no task type; use 1 to 128 of the characters A-Z a-z 0-9 . _ -, with a \
             letter or digit first",
            name.escape_debug()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn refused(tokens: TokenStream) -> String {
        Options::read(tokens).unwrap_err().to_string()
    }

    #[test]
    fn every_option_is_read() {
        let options = Options::read(quote! {
            task_type = "text-stats", description = "Counts.", fuel = 5_000_000_000,
            memory = "64 MiB", timeout = "10s", max_attempts = 3, max_age = "1h",
            backoff = "exponential", initial_delay = "1s", max_delay = "5m", batch = 32,
        });
        let expected = Options {
            task_type: Some("text-stats".into()),
            description: Some("Counts.".into()),
            fuel: Some(5_000_000_000),
            memory_bytes: Some(64 << 20),
            timeout_ms: Some(10_000),
            max_attempts: Some(3),
            max_age_ms: Some(3_600_000),
            waits: Waits {
                growth: Some(Growth::Exponential),
                initial_ms: Some(1_000),
                max_ms: Some(300_000),
                delays_ms: None,
            },
            batch: Some(32),
        };
        assert_eq!(options.unwrap(), expected);
        let listed = Options::read(quote!(delays = "1s, 10s,1m")).unwrap();
        assert_eq!(listed.waits.delays_ms, Some(vec![1_000, 10_000, 60_000]));
        assert_eq!(Options::read(quote!()).unwrap(), Options::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (tokens, expected) in [
            (quote!(feul = 1), "`feul` is no option of `handler`; the options are task_type,"),
            (quote!(fuel), "`fuel` needs a value: write `fuel = ..`"),
            (quote!(fuel = 1, fuel = 2), "`fuel` is given twice"),
            (quote!(fuel = "1"), "the value of `fuel` must be a whole number"),
            (quote!(fuel = 0), "the value of `fuel` must be at least 1"),
            (quote!(fuel = LIMIT), "the value of `fuel` must be a literal"),
            (quote!(max_attempts = 5_000_000_000), "number too large"),
            (quote!(memory = 64), "the value of `memory` must be a string"),
            (quote!(memory = "64"), "`64` is no size"),
            (quote!(timeout = "soon"), "`soon` is no duration"),
            (quote!(backoff = "random"), "`random` is no backoff; write fixed, linear or"),
            (quote!(task_type = "a b"), "`a b` is no task type"),
            (quote!(task_type = ""), "`` is no task type"),
            (quote!(initial_delay = "2s", max_delay = "1s"), "`initial_delay` is longer than"),
            (quote!(delays = "1s", max_delay = "1s"), "`delays` lists all waits"),
            (quote!(batch = 1), "`batch` is how many tasks one call takes; use 2 to 256"),
            (quote!(batch = 257), "use 2 to 256"),
            (quote!(batch = "32"), "the value of `batch` must be a whole number"),
            (quote!(delays = ""), "`` is no duration"),
            (quote!(delays = "1s, soon"), "`soon` is no duration"),
            (quote!(backoff = "fixed", max_delay = "1s"), "a fixed backoff has no `max_delay`"),
        ] {
            let message = refused(tokens.clone());
            assert!(message.contains(expected), "{tokens}: {message}");
        }
    }
}
