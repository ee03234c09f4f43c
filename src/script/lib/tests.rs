//! What the libraries answer to scripts. Every expected text was answered by a real server as well.

use mlua::{Lua, LuaOptions, StdLib};

fn engine() -> Lua {
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new()).expect("an engine");
    super::register(&lua).expect("the libraries");
    lua
}

/// The text that an expression has, or the error that it raises.
fn answer(lua: &Lua, expression: &str) -> String {
    let script = format!("local ok, text = pcall(function() return {expression} end) return tostring(text)");
    let text: mlua::LuaString = lua.load(script).set_name("@user_script").eval().expect("a text");
    text.to_string_lossy()
}

fn check(rows: &[(&str, &str)]) {
    let lua = engine();
    for (expression, expected) in rows {
        assert_eq!(answer(&lua, expression), *expected, "{expression}");
    }
}

#[test]
fn json_is_written_as_scripts_expect_it() {
    check(&[
        ("cjson.encode({1, 2, 3})", "[1,2,3]"),
        ("cjson.encode({})", "{}"),
        ("cjson.encode({a = {b = cjson.null}})", r#"{"a":{"b":null}}"#),
        ("cjson.encode({[1] = 'x', [3] = 'y'})", r#"["x",null,"y"]"#),
        ("cjson.encode({[1] = 'x', [20] = 'y'})", "user_script:1: Cannot serialise table: excessively sparse array"),
        ("cjson.encode({[2147483648] = 1})", r#"{"2147483648":1}"#),
        ("cjson.encode({[1.5] = true})", r#"{"1.5":true}"#),
        ("cjson.encode('a/b\"\\\\\\n\\001\\127\\255')", "\"a\\/b\\\"\\\\\\n\\u0001\\u007f\u{FFFD}\""),
        ("cjson.encode(0.1)", "0.1"),
        ("cjson.encode(123456789012345678)", "1.2345678901235e+17"),
        ("cjson.encode(-0)", "-0"),
        ("cjson.encode(1/0)", "user_script:1: Cannot serialise number: must not be NaN or Inf"),
        ("cjson.encode(print)", "user_script:1: Cannot serialise function: type not supported"),
        ("cjson.encode({[true] = 1})", "user_script:1: Cannot serialise boolean: table key must be a number or string"),
        ("cjson.encode()", "user_script:1: bad argument #1 to 'encode' (expected 1 argument)"),
    ]);
}

#[test]
fn json_is_read_as_scripts_expect_it() {
    check(&[
        ("cjson.decode('[1,2,3]')[3]", "3"),
        ("cjson.decode('[null]')[1] == cjson.null", "true"),
        ("cjson.decode('\"\\\\ud83d\\\\ude00\\\\n\"')", "\u{1F600}\n"),
        ("cjson.decode('0x10') + cjson.decode('-1e2')", "-84"),
        ("cjson.decode('[Infinity]')[1]", "inf"),
        ("cjson.decode('[1,]')", "user_script:1: Expected value but found T_ARR_END at character 4"),
        ("cjson.decode('{\"a\" 1}')", "user_script:1: Expected colon but found T_NUMBER at character 6"),
        ("cjson.decode('{1:1}')", "user_script:1: Expected object key string but found T_NUMBER at character 2"),
        ("cjson.decode('[1 2]')", "user_script:1: Expected comma or array end but found T_NUMBER at character 4"),
        (
            "cjson.decode('{\"a\":1 2}')",
            "user_script:1: Expected comma or object end but found T_NUMBER at character 8",
        ),
        ("cjson.decode('1 2')", "user_script:1: Expected the end but found T_NUMBER at character 3"),
        ("cjson.decode('\"abc')", "user_script:1: Expected value but found unexpected end of string at character 5"),
        ("cjson.decode('\"\\\\q\"')", "user_script:1: Expected value but found invalid escape code at character 2"),
        (
            "cjson.decode('\"\\\\ud800\"')",
            "user_script:1: Expected value but found invalid unicode escape code at character 2",
        ),
        ("cjson.decode('')", "user_script:1: Expected value but found T_END at character 1"),
        ("cjson.decode('[\\0]')", "user_script:1: JSON parser does not support UTF-16 or UTF-32"),
        ("cjson.decode('tru')", "user_script:1: Expected value but found invalid token at character 1"),
    ]);
}

#[test]
fn settings_belong_to_a_library_and_stay() {
    check(&[
        ("cjson.encode_max_depth()", "1000"),
        (
            "cjson.encode_max_depth(0)",
            "user_script:1: bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)",
        ),
        ("cjson.encode_number_precision(3)", "3"),
        ("cjson.encode(1/3)", "0.333"),
        ("cjson.new().encode(1/3)", "0.33333333333333"),
        ("cjson.encode_invalid_numbers('null')", "null"),
        ("cjson.encode({1/0})", "[null]"),
        (
            "cjson.encode_invalid_numbers('maybe')",
            "user_script:1: bad argument #1 to 'encode_invalid_numbers' (invalid option 'maybe')",
        ),
        ("cjson.encode_sparse_array(true, 1, 2)", "true"),
        ("cjson.encode({[4] = 1})", r#"{"4":1}"#),
        ("cjson.decode_invalid_numbers(false)", "false"),
        ("cjson.decode('[inf]')", "user_script:1: Expected value but found invalid token at character 2"),
        (
            "cjson.decode_max_depth(1, 2)",
            "user_script:1: bad argument #2 to 'decode_max_depth' (found too many arguments)",
        ),
    ]);
}

#[test]
fn nesting_is_limited_in_both_directions() {
    check(&[
        (
            "cjson.encode((function() local t = {} for i = 1, 1000 do t = {t} end return t end)())",
            "user_script:1: Cannot serialise, excessive nesting (1001)",
        ),
        (
            "cjson.encode((function() local t = {} t.t = t return t end)())",
            "user_script:1: Cannot serialise, excessive nesting (1001)",
        ),
        ("#cjson.encode((function() local t = {} for i = 1, 999 do t = {t} end return t end)())", "2000"),
        (
            "cjson.decode(string.rep('[', 1001))",
            "user_script:1: Found too many nested data structures (1001) at character 1001",
        ),
        ("cjson.decode(string.rep('[', 1000) .. string.rep(']', 1000)) ~= nil", "true"),
        // Without limits of its own, a library still has those of Lua's stack.
        ("cjson.encode_max_depth(2147483647) + cjson.decode_max_depth(2147483647) > 0", "true"),
        (
            "cjson.encode((function() local t = {} t.t = t return t end)())",
            "user_script:1: Cannot serialise, excessive nesting (4000)",
        ),
        (
            "(cjson.decode(string.rep('[', 100000)))",
            "user_script:1: Found too many nested data structures (7999) at character 7999",
        ),
        (
            "(cjson.decode(string.rep('{\"a\":', 100000)))",
            "user_script:1: Found too many nested data structures (4000) at character 19996",
        ),
        (
            "cmsgpack.unpack(string.rep('\\145', 100000))",
            "user_script:1: stack overflow (in function mp_decode_to_lua_array)",
        ),
        (
            "cmsgpack.unpack(string.rep('\\129', 100000))",
            "user_script:1: stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
        ),
        ("#cmsgpack.pack((function() local t = {} t[1] = t return t end)())", "17"),
    ]);
}

#[test]
fn messagepack_survives_the_way_there_and_back() {
    let lua = engine();
    for value in [
        "0",
        "127",
        "128",
        "255",
        "256",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "-1",
        "-32",
        "-33",
        "-128",
        "-129",
        "-32768",
        "-32769",
        "-2147483648",
        "-2147483649",
        "0.5",
        "0.1",
        "1e300",
        "''",
        "('x'):rep(31)",
        "('x'):rep(32)",
        "('x'):rep(255)",
        "('x'):rep(256)",
        "('x'):rep(65535)",
        "('x'):rep(65536)",
        "true",
        "false",
        "nil",
    ] {
        assert_eq!(answer(&lua, &format!("cmsgpack.unpack(cmsgpack.pack({value})) == {value}")), "true", "{value}");
    }
    check(&[
        (
            "#cmsgpack.unpack(cmsgpack.pack((function() local t = {} for i = 1, 70000 do t[i] = i end return t end)()))",
            "70000",
        ),
        ("cmsgpack.unpack(cmsgpack.pack({a = {b = {1, 2, {c = 'd'}}}})).a.b[3].c", "d"),
        ("select('#', cmsgpack.unpack(cmsgpack.pack(1, nil, 3)))", "3"),
        ("cmsgpack.pack({}):byte()", "144"),
        ("cmsgpack.pack({[0] = 1}):byte()", "129"),
        ("cmsgpack.unpack('\\207\\255\\255\\255\\255\\255\\255\\255\\255')", "-1"),
        ("cmsgpack.pack()", "user_script:1: bad argument #0 to 'pack' (MessagePack pack needs input.)"),
        ("cmsgpack.unpack('\\193')", "user_script:1: Bad data format in input."),
        ("cmsgpack.unpack('\\129\\192\\192')", "table index is nil"),
        ("cmsgpack.unpack_one('\\1\\2\\3', 1)", "2"),
        ("select(2, cmsgpack.unpack_one('\\1\\2\\3', 1))", "2"),
        ("cmsgpack.unpack_one('\\3')", "-1"),
        ("cmsgpack.unpack_limit('\\1\\2\\3', 2, 0)", "2"),
        ("cmsgpack.unpack_limit('\\1\\2\\3', 2, 4)", "user_script:1: Start offset 4 greater than input length 3."),
        (
            "cmsgpack.unpack_limit('\\1\\2\\3', -1)",
            "user_script:1: Invalid request to unpack with offset of 0 and limit of 3.",
        ),
    ]);
}

/// CVE-2018-11218: lengths that the input claims led past it.
#[test]
fn lengths_that_messagepack_claims_allocate_nothing() {
    let lua = engine();
    for head in [
        "\\221\\255\\255\\255\\255",
        "\\223\\255\\255\\255\\255",
        "\\219\\255\\255\\255\\255",
        "\\220\\255\\255",
        "\\222\\255\\255",
        "\\217\\255",
        "\\159",
        "\\143",
        "\\191",
    ] {
        let before = lua.used_memory();
        assert_eq!(answer(&lua, &format!("cmsgpack.unpack('{head}\\1\\2')")), "user_script:1: Missing bytes in input.");
        assert!(lua.used_memory() < before + 10_000, "{head}");
    }
    assert_eq!(
        answer(&lua, "cmsgpack.unpack(('\\221\\255\\255\\255\\255'):rep(1000))"),
        "user_script:1: Missing bytes in input."
    );
}

#[test]
fn values_are_packed_into_strings_and_back() {
    check(&[
        ("struct.unpack('>I2', struct.pack('>I2', 258))", "258"),
        ("struct.pack('>I2', 258):byte()", "1"),
        ("struct.pack('<I2', 258):byte()", "2"),
        ("struct.unpack('i', struct.pack('i', -5))", "-5"),
        ("struct.unpack('B', struct.pack('B', 300))", "44"),
        ("struct.unpack('d', struct.pack('d', 0.1))", "0.1"),
        ("struct.unpack('Bc0', '\\3abcd')", "abc"),
        ("struct.unpack('s', 'abc\\0def')", "abc"),
        ("select(2, struct.unpack('s', 'abc\\0def'))", "5"),
        ("struct.size('!8bdi')", "20"),
        ("#struct.pack('!4bi', 1, 2)", "8"),
        ("struct.size('s')", "user_script:1: bad argument #1 to 'size' (option 's' has no fixed size)"),
        ("struct.pack('y', 1)", "user_script:1: bad argument #1 to 'pack' (invalid format option 'y')"),
        ("struct.pack('i')", "user_script:1: bad argument #2 to 'pack' (number expected, got nil)"),
        ("struct.pack('c5', 'abc')", "user_script:1: bad argument #3 to 'pack' (string too short)"),
        ("struct.unpack('i', 'abc')", "user_script:1: bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('s', 'abc')", "user_script:1: unfinished string in data"),
        ("struct.unpack('c0', 'abc')", "user_script:1: format 'c0' needs a previous size"),
        ("struct.pack('!3')", "user_script:1: alignment 3 is not a power of 2"),
        ("struct.pack('i33', 1)", "user_script:1: integral size 33 is larger than limit of 32"),
    ]);
}

/// CVE-2018-11219 and CVE-2020-14147: sizes and offsets that wrap around.
#[test]
fn sizes_and_offsets_of_formats_do_not_wrap() {
    check(&[
        ("struct.pack('i99999999999', 1)", "user_script:1: integral size overflow"),
        ("struct.unpack('c2147483648', 'a')", "user_script:1: integral size overflow"),
        ("struct.unpack('c2147483647', 'a')", "user_script:1: bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('I8c0', ('\\255'):rep(16))", ""),
        (
            "struct.unpack('dc0', struct.pack('d', -1) .. 'abc')",
            "user_script:1: bad argument #2 to 'unpack' (data string too short)",
        ),
        ("struct.unpack('B', 'abc', -1)", "user_script:1: bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('B', 'abc', 0)", "user_script:1: bad argument #3 to 'unpack' (offset must be 1 or greater)"),
        (
            "struct.unpack('B', 'abc', 9223372036854775807)",
            "user_script:1: bad argument #2 to 'unpack' (data string too short)",
        ),
        (
            "struct.unpack('!1073741824i32', ('x'):rep(31))",
            "user_script:1: bad argument #2 to 'unpack' (data string too short)",
        ),
    ]);
}

/// CVE-2022-24834: a string whose escaped form does not fit into the integers of the library.
#[test]
fn long_strings_are_escaped_within_the_engines_memory() {
    let lua = engine();
    assert_eq!(answer(&lua, "#cjson.encode(('\\0'):rep(1000000))"), "6000002");
    lua.set_memory_limit(lua.used_memory() + (16 << 20)).expect("a limit");
    assert_eq!(answer(&lua, "#cjson.encode(('\\0'):rep(4000000))"), "not enough memory");
    assert_eq!(answer(&lua, "cjson.encode_sparse_array(false, 0) and 1 or 2"), "2");
    // An array of two thousand million holes.
    assert_eq!(answer(&lua, "cjson.encode({[2147483647] = 1})"), "not enough memory");
    // Few tables that stand for very many.
    let doubled = "(function() local t = {1} for i = 1, 60 do t = {t, t} end return cjson.encode(t) end)()";
    assert_eq!(answer(&lua, doubled), "not enough memory");
    assert_eq!(
        answer(
            &lua,
            "#cmsgpack.pack((function() local t = ('x'):rep(1000) for i = 1, 15 do t = {t, t, t} end return t end)())"
        ),
        "not enough memory"
    );
    assert_eq!(answer(&lua, "cjson.encode({1})"), "[1]");
}

#[test]
fn what_a_large_text_needed_is_given_back() {
    let lua = engine();
    answer(&lua, "cjson.encode({1})");
    lua.gc_collect().expect("a collection");
    let before = lua.used_memory();
    assert_eq!(answer(&lua, "#cjson.encode(('x'):rep(8000000))"), "8000002");
    // Lua's own buffer for concatenation halves with each collection.
    for _ in 0..10 {
        lua.gc_collect().expect("a collection");
    }
    assert!(lua.used_memory() < before + 200_000, "{} after {before}", lua.used_memory());
}

#[test]
fn bits_are_those_of_signed_numbers_of_32_bits() {
    check(&[
        ("bit.tobit(0xffffffff)", "-1"),
        ("bit.tobit(0xffffffff + 1)", "0"),
        ("bit.tobit(2^40 + 1234)", "1234"),
        ("bit.tobit(2.5) + bit.tobit(3.5)", "6"),
        ("bit.bnot(0)", "-1"),
        ("bit.band(0x12345678, 0xff)", "120"),
        ("bit.bor(1, 2, 4, 8)", "15"),
        ("bit.bxor(0xa5a5f0f0, 0xaa55ff00)", "267390960"),
        ("bit.lshift(1, 33)", "2"),
        ("bit.rshift(-256, 8)", "16777215"),
        ("bit.arshift(-256, 8)", "-1"),
        ("bit.rol(0x12345678, 12)", "1164411171"),
        ("bit.ror(0x12345678, 12)", "1736516421"),
        ("bit.rol(5, 0)", "5"),
        ("bit.bswap(0x12345678)", "2018915346"),
        ("bit.tohex(1)", "00000001"),
        ("bit.tohex(-1, 4)", "ffff"),
        ("bit.tohex(0x87654321, -4)", "4321"),
        ("bit.tohex(255, -2)", "FF"),
        ("bit.tohex(0)", "00000000"),
        ("bit.band('12', 4)", "4"),
        ("bit.band()", "user_script:1: bad argument #1 to 'band' (number expected, got no value)"),
        ("bit.band(1, {})", "user_script:1: bad argument #2 to 'band' (number expected, got table)"),
        // CVE-2024-31449: this width has no positive counterpart.
        ("bit.tohex(255, -2147483648)", "000000FF"),
    ]);
}

#[test]
fn any_bytes_are_read_or_refused() {
    let lua = engine();
    let decode: mlua::Function = lua
        .load(
            "return function(text)
                -- Thousands of results are not passed through pcall: Lua 5.1 leaves no room for its own one then.
                local function try(read, ...) pcall(function(...) local _ = {read(...)} end, ...) end
                try(cjson.decode, text) try(cmsgpack.unpack, text)
                try(struct.unpack, text, text) try(struct.pack, text, 1, 2, text)
            end",
        )
        .eval()
        .expect("a function");
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let alphabet = b"{}[],:\"\\u0129aeEx+-.nult \0\x81\x91\xdd\xdf\xdb\xc1\xcfbBhHlLiIcsdfT<>!";
    for _ in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..state % 24 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(if state & 7 == 0 {
                (state >> 8) as u8
            } else {
                alphabet[(state >> 16) as usize % alphabet.len()]
            });
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let text = lua.create_string(&text).expect("a string");
        decode.call::<()>(text).expect("no error leaves pcall");
    }
}
