;; Takes random numbers for ever.
(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (call $random)) (br $again))
    (i32.const 0))
