//! What a function must look like to be a handler: one owned input, then perhaps
//! the task by reference; a plain function, because a handler runs to its end in
//! one call. A batch handler has a vector of each.

use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericArgument, ItemFn, PathArguments, ReturnType, Type};

/// The parts of a signature that the registration needs.
pub(crate) struct Signature {
    /// The type of one task's input.
    pub(crate) input: Type,
    /// Whether the function takes the task, or the tasks, as well.
    pub(crate) takes_task: bool,
}

impl Signature {
    /// Check `function`, which takes batches or single tasks, and take its parts.
    pub(crate) fn read(function: &ItemFn, batches: bool) -> syn::Result<Self> {
        let signature = &function.sig;
        if let Some(token) = &signature.asyncness {
            return refuse(token, "a handler cannot be async: it runs to its end in one call");
        }
        if let Some(token) = &signature.unsafety {
            return refuse(token, "a handler cannot be unsafe");
        }
        if let Some(token) = &signature.abi {
            return refuse(token, "a handler cannot have an ABI of its own");
        }
        let generics = &signature.generics;
        if !generics.params.is_empty() || generics.where_clause.is_some() {
            return refuse(&signature.ident, "a handler cannot be generic");
        }
        if let ReturnType::Type(_, output) = &signature.output
            && matches!(**output, Type::ImplTrait(_))
        {
            return refuse(output, "a handler's output needs a named type");
        }

        if batches {
            check_results(function)?;
        }
        let input_type = if batches { inputs_type } else { input_type };
        let (check_task, wanted) = if batches {
            (
                check_tasks as fn(&FnArg) -> syn::Result<()>,
                "its inputs and, if it wants, a `&[Task]`",
            )
        } else {
            (check_task as fn(&FnArg) -> syn::Result<()>, "its input and, if it wants, a `&Task`")
        };
        let parameters: Vec<&FnArg> = signature.inputs.iter().collect();
        match parameters[..] {
            [input] => Ok(Self { input: input_type(input)?, takes_task: false }),
            [input, task] => {
                let input = input_type(input)?;
                check_task(task)?;
                Ok(Self { input, takes_task: true })
            }
            _ => refuse(
                &signature.inputs,
                &format!(
                    "a handler takes {wanted}; this one takes {} parameters",
                    parameters.len()
                ),
            ),
        }
    }
}

fn input_type(parameter: &FnArg) -> syn::Result<Type> {
    let FnArg::Typed(parameter) = parameter else {
        return refuse(parameter, "a handler is a plain function and takes no `self`");
    };
    match &*parameter.ty {
        Type::Reference(reference) => {
            let message = if names_task(&reference.elem) {
                "the input comes first and the `&Task` second"
            } else {
                "a handler owns its input; take it by value"
            };
            refuse(reference, message)
        }
        Type::ImplTrait(ty) => refuse(ty, "a handler's input needs a named type"),
        ty => Ok(ty.clone()),
    }
}

fn check_task(parameter: &FnArg) -> syn::Result<()> {
    match parameter {
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) if reference.mutability.is_none() => Ok(()),
            other => refuse(other, "the second parameter of a handler is `&Task`"),
        },
        FnArg::Receiver(receiver) => refuse(receiver, "a handler takes no `self`"),
    }
}

/// The type of one input of a batch.
fn inputs_type(parameter: &FnArg) -> syn::Result<Type> {
    let ty = input_type(parameter)?;
    match element(&ty) {
        Some(Type::Path(byte)) if byte.path.is_ident("u8") => {
            refuse(&ty, "`Vec<u8>` is the bytes of one payload; a batch of them is `Vec<Vec<u8>>`")
        }
        Some(input) => Ok(input.clone()),
        None => refuse(&ty, "a batch handler takes `Vec<..>`, one input for each task"),
    }
}

fn check_tasks(parameter: &FnArg) -> syn::Result<()> {
    match parameter {
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference)
                if reference.mutability.is_none() && matches!(*reference.elem, Type::Slice(_)) =>
            {
                Ok(())
            }
            other => refuse(other, "the second parameter of a batch handler is `&[Task]`"),
        },
        FnArg::Receiver(receiver) => refuse(receiver, "a handler takes no `self`"),
    }
}

fn check_results(function: &ItemFn) -> syn::Result<()> {
    let message = "a batch handler returns `Vec<..>`, one result for each input";
    match &function.sig.output {
        ReturnType::Type(_, output) if element(output).is_some() => Ok(()),
        ReturnType::Type(_, output) => refuse(output, message),
        ReturnType::Default => refuse(&function.sig.ident, message),
    }
}

/// The `T` of a `Vec<T>`.
fn element(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Vec")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(element) => Some(element),
        _ => None,
    }
}

fn names_task(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Task"))
}

fn refuse<T>(place: &impl Spanned, message: &str) -> syn::Result<T> {
    Err(Error::new(place.span(), message))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_batch_handler_has_a_vector_of_each() {
        let read = |function: ItemFn| Signature::read(&function, true);
        let both = read(parse_quote!(
            fn f(inputs: Vec<Input>, tasks: &[Task]) -> Vec<Result<u8, Failure>> {}
        ));
        let both = both.unwrap();
        let input = &both.input;
        assert_eq!((quote::quote!(#input).to_string().as_str(), both.takes_task), ("Input", true));
        let raw = read(parse_quote!(
            fn f(inputs: std::vec::Vec<Vec<u8>>) -> Vec<u8> {}
        ));
        assert!(!raw.unwrap().takes_task);
        let cases: [(ItemFn, &str); 6] = [
            (
                parse_quote!(
                    fn f(input: Input) -> Vec<u8> {}
                ),
                "a batch handler takes `Vec<..>`",
            ),
            (
                parse_quote!(
                    fn f(inputs: Vec<u8>) -> Vec<u8> {}
                ),
                "a batch of them is `Vec<Vec<u8>>`",
            ),
            (
                parse_quote!(
                    fn f(inputs: Vec<Input>, task: &Task) -> Vec<u8> {}
                ),
                "the second parameter of a batch handler is `&[Task]`",
            ),
            (
                parse_quote!(
                    fn f(inputs: Vec<Input>) -> Result<Vec<u8>, Failure> {}
                ),
                "a batch handler returns `Vec<..>`",
            ),
            (
                parse_quote!(
                    fn f(inputs: Vec<Input>) {}
                ),
                "a batch handler returns `Vec<..>`",
            ),
            (
                parse_quote!(
                    fn f() -> Vec<u8> {}
                ),
                "takes its inputs and, if it wants, a `&[Task]`; this one takes 0",
            ),
        ];
        for (function, expected) in cases {
            let message = read(function).err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn good_signatures() {
        let one = Signature::read(
            &parse_quote!(
                fn f(input: Input) -> Output {}
            ),
            false,
        )
        .unwrap();
        assert!(!one.takes_task);
        let two = Signature::read(
            &parse_quote!(
                fn f(_: Vec<u8>, task: &Task) {}
            ),
            false,
        )
        .unwrap();
        assert!(two.takes_task);
    }

    #[test]
    fn mistakes_are_named() {
        let cases: [(ItemFn, &str); 12] = [
            (
                parse_quote!(
                    async fn f(input: Input) {}
                ),
                "cannot be async",
            ),
            (
                parse_quote!(
                    unsafe fn f(input: Input) {}
                ),
                "cannot be unsafe",
            ),
            (
                parse_quote!(
                    extern "C" fn f(input: Input) {}
                ),
                "an ABI of its own",
            ),
            (
                parse_quote!(
                    fn f<T>(input: T) {}
                ),
                "cannot be generic",
            ),
            (
                parse_quote!(
                    fn f(input: Input) -> impl Serialize {}
                ),
                "output needs a named type",
            ),
            (
                parse_quote!(
                    fn f() {}
                ),
                "this one takes 0 parameters",
            ),
            (
                parse_quote!(
                    fn f(a: A, b: &Task, c: C) {}
                ),
                "this one takes 3 parameters",
            ),
            (
                parse_quote!(
                    fn f(self) {}
                ),
                "takes no `self`",
            ),
            (
                parse_quote!(
                    fn f(input: &str) {}
                ),
                "take it by value",
            ),
            (
                parse_quote!(
                    fn f(task: &Task, input: Input) {}
                ),
                "the input comes first",
            ),
            (
                parse_quote!(
                    fn f(input: impl Read) {}
                ),
                "input needs a named type",
            ),
            (
                parse_quote!(
                    fn f(input: Input, task: Task) {}
                ),
                "the second parameter of a handler",
            ),
        ];
        for (function, expected) in cases {
            let name = quote::quote!(#function).to_string();
            let message = Signature::read(&function, false).err().unwrap().to_string();
            assert!(message.contains(expected), "{name}: {message}");
        }
    }
}
