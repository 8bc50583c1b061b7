;; Imports the right to submit tasks, which it was not granted.
(import "bulkhead:handler/enqueue@0.1.0" "submit" (func $submit (param i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $submit (i32.const 1024) (i32.const 2048))
    (i32.const 0))
