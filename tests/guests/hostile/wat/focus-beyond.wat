;; Focuses on tasks of a batch that there are not.
(import "bulkhead:handler/batch@0.1.0" "focus" (func $focus (param i32 i32)))
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $focus (i32.const 1) (i32.const -1))
    (call $log (i32.const 1) (i32.const 256) (i32.const 4) (i32.const 0) (i32.const 0))
    (call $focus (i32.const 0) (i32.const 0))
    (i32.const 0))
