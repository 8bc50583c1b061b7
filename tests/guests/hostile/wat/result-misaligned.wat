;; Answers with an odd address.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.const 1025))
