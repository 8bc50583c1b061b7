;; Answers with a variant that there is not.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 7))
    (i32.const 1024))
