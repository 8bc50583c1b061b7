;; Reads beyond the end of its memory.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (i32.load (i32.const 0xfffffff0)))
    (i32.const 0))
