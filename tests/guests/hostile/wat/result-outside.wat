;; Answers with an address beyond the end of its memory.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.const 0xfffffff0))
