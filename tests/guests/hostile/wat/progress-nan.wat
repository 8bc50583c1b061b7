;; Reports progress that is no number, then a fraction beyond all.
(import "bulkhead:handler/progress@0.1.0" "report" (func $report (param f32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $report (f32.const nan) (i32.const 0) (i32.const 0))
    (call $report (f32.const -inf) (i32.const 256) (i32.const 32))
    (i32.const 0))
