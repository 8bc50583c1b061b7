;; Asks for as many random bytes as a number can say.
(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $random (i64.const -1) (i32.const 1024))
    (i32.const 0))
