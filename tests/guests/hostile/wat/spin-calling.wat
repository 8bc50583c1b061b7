;; Calls the host for ever.
(import "bulkhead:handler/context@0.1.0" "cancelled" (func $cancelled (result i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (call $cancelled)) (br $again))
    (i32.const 0))
