//! What the attribute expands to: the function as it was written, and beside it a
//! type of the same name that carries the registration. Functions and types have
//! separate namespaces, so one path names both, and importing one imports both.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Ident, ItemFn, Lit, Meta, ReturnType, Type};

use crate::options::Options;
use crate::signature::Signature;
use crate::waits::Backoff;

/// The function and its registration, or the function and the errors: the function
/// is kept in any case, so that one mistake is not followed by a dozen others.
pub(crate) fn expand(options: TokenStream, function: TokenStream) -> TokenStream {
    let parsed: ItemFn = match syn::parse2(function.clone()) {
        Ok(parsed) => parsed,
        Err(_) => {
            let error = Error::new(function.span(), "`handler` belongs on a function");
            let error = error.to_compile_error();
            return quote!(#error #function);
        }
    };
    match register(options, &parsed) {
        Ok(registration) => quote!(#function #registration),
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #function)
        }
    }
}

fn register(options: TokenStream, function: &ItemFn) -> syn::Result<TokenStream> {
    let options = Options::read(options)?;
    let signature = Signature::read(function, options.batch.is_some())?;
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let task_type = options.task_type.clone().unwrap_or_else(|| default_task_type(name));
    let describe = describe(&options, &signature, &function.attrs);
    let output = shown_at_output(&function.sig.output);
    let handle = match options.batch {
        Some(size) => handle_batch(name, &signature, output, size),
        None => handle(name, &signature, output),
    };
    Ok(quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::empty_enums, reason = "it carries the function's name and has no values")]
        #visibility enum #name {}

        #[automatically_derived]
        impl ::bulkhead_guest::Handler for #name {
            const TASK_TYPE: &'static str = #task_type;
            #describe
            #handle
        }
    })
}

fn describe(options: &Options, signature: &Signature, attributes: &[Attribute]) -> TokenStream {
    let description = options.description.clone().unwrap_or_else(|| doc_text(attributes));
    let (fuel, memory, timeout) =
        (option(options.fuel), option(options.memory_bytes), option(options.timeout_ms));
    let (retry, max_batch) = (retry(options), option(options.batch));
    let input = &signature.input;
    let schema = quote_spanned!(shown_at(input)=> __codec::Input::<#input>::new().schema());
    quote! {
        fn describe() -> ::bulkhead_guest::Description {
            #[allow(unused_imports, reason = "not every handler uses what is imported for it")]
            use ::bulkhead_guest::__private::codec::{self as __codec, StructuredInput as _};
            ::bulkhead_guest::Description {
                task_type: <Self as ::bulkhead_guest::Handler>::TASK_TYPE,
                description: #description,
                input_schema: #schema,
                fuel: #fuel,
                memory_bytes: #memory,
                timeout_ms: #timeout,
                retry: #retry,
                max_batch: #max_batch,
            }
        }
    }
}

fn handle(name: &Ident, signature: &Signature, output: Span) -> TokenStream {
    let input = &signature.input;
    let decode = quote_spanned!(shown_at(input)=> __codec::Input::<#input>::new().decode(__format, __payload)?);
    let task = signature.takes_task.then(|| quote!(, __task));
    let encode = encode(output);
    quote! {
        fn handle(
            __task: &::bulkhead_guest::Task,
            __payload: ::bulkhead_guest::Payload,
        ) -> ::core::result::Result<::bulkhead_guest::Payload, ::bulkhead_guest::Failure> {
            #[allow(unused_imports, reason = "not every handler uses what is imported for it")]
            use ::bulkhead_guest::__private::codec::{
                self as __codec, BareReturn as _, ErrorReturn as _, FailureReturn as _,
                StructuredInput as _, StructuredOutput as _,
            };
            let __format = __codec::Format::of(&__payload.content_type);
            let __returned = #name(#decode #task);
            #encode
        }
    }
}

fn handle_batch(name: &Ident, signature: &Signature, output: Span, size: u32) -> TokenStream {
    let input = &signature.input;
    let decode = quote_spanned! {shown_at(input)=>
        __codec::Input::<#input>::new().decode(__format, __payload)
    };
    let tasks = signature.takes_task.then(|| quote!(, __batch.tasks()));
    let encode = encode(output);
    quote! {
        const MAX_BATCH: u32 = #size;

        fn handle(
            __task: &::bulkhead_guest::Task,
            __payload: ::bulkhead_guest::Payload,
        ) -> ::core::result::Result<::bulkhead_guest::Payload, ::bulkhead_guest::Failure> {
            ::bulkhead_guest::__private::batch::alone::<Self>(__task, __payload)
        }

        fn handle_batch(
            __items: ::std::vec::Vec<(::bulkhead_guest::Task, ::bulkhead_guest::Payload)>,
        ) -> ::std::vec::Vec<
            ::core::result::Result<::bulkhead_guest::Payload, ::bulkhead_guest::Failure>,
        > {
            #[allow(unused_imports, reason = "not every handler uses what is imported for it")]
            use ::bulkhead_guest::__private::codec::{
                self as __codec, BareReturn as _, ErrorReturn as _, FailureReturn as _,
                StructuredInput as _, StructuredOutput as _,
            };
            let (__batch, __inputs) = ::bulkhead_guest::__private::batch::Batch::read(
                __items,
                |__format, __payload| { #decode },
            );
            let __returned = if __inputs.is_empty() {
                ::std::vec::Vec::new()
            } else {
                #name(__inputs #tasks)
            };
            __batch.answer(__returned, |__format, __returned| { #encode })
        }
    }
}

/// From what the function returns for one task to its payload or failure.
fn encode(output: Span) -> TokenStream {
    quote_spanned! {output=>
        let __output = (&&&__codec::returned(&__returned)).kind().settle(__returned)?;
        __codec::output(&__output).encode(__format, __output)
    }
}

fn shown_at_output(output: &ReturnType) -> Span {
    match output {
        ReturnType::Type(_, output) => shown_at(output),
        ReturnType::Default => Span::call_site(),
    }
}

/// Where an error about a type is shown: at the type, but as the attribute's code, so
/// that no lint takes the expansion for the author's.
fn shown_at(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

fn retry(options: &Options) -> TokenStream {
    let backoff = options.waits.backoff();
    if options.max_attempts.is_none() && options.max_age_ms.is_none() && backoff.is_none() {
        return quote!(::core::option::Option::None);
    }
    let (attempts, max_age) = (option(options.max_attempts), option(options.max_age_ms));
    let backoff = option(backoff.map(|backoff| {
        let fields = match backoff {
            Backoff::Fixed { delay_ms } => quote!(Fixed { delay_ms: #delay_ms }),
            Backoff::Linear { initial_ms, max_ms } => {
                quote!(Linear { initial_ms: #initial_ms, max_ms: #max_ms })
            }
            Backoff::Exponential { initial_ms, max_ms } => {
                quote!(Exponential { initial_ms: #initial_ms, max_ms: #max_ms })
            }
            Backoff::Delays { delays_ms } => {
                quote!(Delays { delays_ms: ::std::vec![#(#delays_ms),*] })
            }
        };
        quote!(::bulkhead_guest::Backoff::#fields)
    }));
    quote! {
        ::core::option::Option::Some(::bulkhead_guest::Retry {
            max_attempts: #attempts,
            backoff: #backoff,
            max_age_ms: #max_age,
        })
    }
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn default_task_type(name: &Ident) -> String {
    let name = name.to_string();
    name.trim_start_matches("r#").trim_matches('_').replace('_', "-")
}

/// The text of the doc comment.
fn doc_text(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn the_function_is_kept_beside_its_registration_and_beside_an_error() {
        let function = quote!(
            fn count_words(input: Input) -> usize {
                0
            }
        );
        let good = expand(quote!(), function.clone()).to_string();
        assert!(good.starts_with(&function.to_string()), "{good}");
        assert!(good.contains("\"count-words\""), "{good}");

        let bad = expand(quote!(feul = 1), function.clone()).to_string();
        assert!(bad.contains("compile_error"), "{bad}");
        assert!(bad.ends_with(&function.to_string()), "{bad}");
    }

    #[test]
    fn other_items_are_refused() {
        let expansion = expand(
            quote!(),
            quote!(
                struct Words;
            ),
        )
        .to_string();
        assert!(expansion.contains("`handler` belongs on a function"), "{expansion}");
    }

    #[test]
    fn the_doc_comment_is_the_description() {
        let function: ItemFn = parse_quote! {
            /// Counts words.
            ///
            /// Slowly.
            #[inline]
            fn f() {}
        };
        assert_eq!(doc_text(&function.attrs), "Counts words.\n\nSlowly.");
        assert_eq!(doc_text(&[]), "");
    }

    #[test]
    fn the_default_task_type_is_a_valid_name() {
        for (name, expected) in [("text_stats", "text-stats"), ("_f", "f"), ("v2_x_", "v2-x")] {
            let name = Ident::new(name, proc_macro2::Span::call_site());
            assert_eq!(default_task_type(&name), expected);
        }
    }
}
