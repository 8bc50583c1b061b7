;; Asks a timer whether it rings, for ever.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.ready" (func $ready (param i32) (result i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (local $timer i32)
    (local.set $timer (call $timer (i64.const 3600000000000)))
    (loop $again (drop (call $ready (local.get $timer))) (br $again))
    (i32.const 0))
