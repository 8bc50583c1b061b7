;; Divides by zero.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (i32.div_s (i32.const 1) (i32.const 0)))
    (i32.const 0))
