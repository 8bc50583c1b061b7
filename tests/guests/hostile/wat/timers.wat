;; Starts timers for ever and drops none.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (call $timer (i64.const 3600000000000))) (br $again))
    (i32.const 0))
