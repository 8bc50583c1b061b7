;; Suggests a backoff that is multiplied by what is no number.
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (i32.store8 (i32.const 368) (i32.const 1))
    (i32.store8 (i32.const 384) (i32.const 1))
    (i32.store8 (i32.const 392) (i32.const 2))
    (f64.store (i32.const 408) (f64.const nan))
    (i32.const 256))
