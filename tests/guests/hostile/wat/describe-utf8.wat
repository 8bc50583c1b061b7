;; Names its task type in bytes that are no UTF-8.
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (i32.store (i32.load (i32.const 288)) (i32.const 0xfffefdfc)) (i32.const 256))
