(module $codec
  (memory (export "memory") 1)
  (func $read_word (param $at i32) (result i32)
    local.get $at
    i32.load)
  (func $decode_block (param $at i32) (result i32)
    local.get $at
    call $read_word
    i32.const 1
    i32.add)
  (func $check_header (param $magic i32)
    local.get $magic
    i32.const 0x55AA
    i32.ne
    if
      unreachable
    end)
  (func $parse_header (param $magic i32)
    local.get $magic
    call $check_header)
  (func (export "decode_image") (param $at i32) (result i32)
    local.get $at
    call $decode_block)
  (func (export "open_image") (param $magic i32)
    local.get $magic
    call $parse_header)
)
