;; Reads parents that there are not.
(import "bulkhead:handler/parents@0.1.0" "count" (func $count (result i32)))
(import "bulkhead:handler/parents@0.1.0" "get" (func $get (param i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (call $count))
    (call $get (i32.const -1) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024)) (then unreachable))
    (i32.const 0))
