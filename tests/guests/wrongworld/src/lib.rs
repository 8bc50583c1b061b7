//! A valid component that exports something else than a handler: the host must
//! refuse it by its world, not crash on it.

#[cfg(target_arch = "wasm32")]
mod greeter {
    wit_bindgen::generate!({ path: "wit", world: "greeter" });

    struct Greeter;

    impl exports::bulkhead_tests::greeter::greeting::Guest for Greeter {
        fn greet(name: String) -> String {
            format!("Hello, {name}")
        }
    }

    export!(Greeter);
}
