;; Imports an interface that no host has.
(import "evil:host/shell@1.0.0" "run" (func $run))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $run)
    (i32.const 0))
