use super::*;

fn refused(toml: &str) -> String {
    Schema::parse(toml).expect_err("the schema should be refused").to_string()
}

const FIELD: &str = "[[field]]\nname = \"x\"\nkind = \"numeric\"\n";

#[test]
fn a_misspelt_parent_is_named_with_the_nearest_task() {
    let said = refused(&format!("[[task]]\nname = \"click\"\n[[task]]\nname = \"buy\"\nafter = \"clik\"\n{FIELD}"));
    assert!(said.contains("did you mean `click`?"), "{said}");
}

#[test]
fn a_cycle_is_refused() {
    let said =
        refused(&format!("[[task]]\nname = \"a\"\nafter = \"b\"\n[[task]]\nname = \"b\"\nafter = \"a\"\n{FIELD}"));
    assert!(said.contains("its own ancestor"), "{said}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let said = refused(&format!("grop = \"user\"\n[[task]]\nname = \"click\"\n{FIELD}"));
    assert!(said.contains("did you mean `group`?"), "{said}");
    let said =
        refused("[[task]]\nname = \"click\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"\ntransfrom = \"log1p\"\n");
    assert!(said.contains("did you mean `transform`?"), "{said}");
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let said = refused("[[task]]\nname = \"click\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"\nmin_count = 3\n");
    assert!(said.contains("`min_count` has no meaning for a numeric field"), "{said}");
}

#[test]
fn a_label_or_a_never_column_is_no_feature() {
    assert!(refused("[[task]]\nname = \"x\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"").contains("label of a task"));
    let said = refused(&format!("never = [\"x\"]\n[[task]]\nname = \"click\"\n{FIELD}"));
    assert!(said.contains("listed under `never`"), "{said}");
}

#[test]
fn no_task_is_called_as_the_mean_over_tasks_is() {
    let said = refused(&format!("[[task]]\nname = \"mean\"\nlabel = \"click\"\n{FIELD}"));
    assert!(said.contains("task `mean`") && said.contains("`label`"), "{said}");
}

#[test]
fn a_label_or_a_never_column_is_no_scenario() {
    let said = refused(&format!("scenario = \"click\"\n[[task]]\nname = \"click\"\n{FIELD}"));
    assert!(said.contains("`scenario` reads `click`, the label of a task"), "{said}");
    let said = refused(&format!("scenario = \"truth\"\nnever = [\"truth\"]\n[[task]]\nname = \"click\"\n{FIELD}"));
    assert!(said.contains("`scenario` reads `truth`, which is listed under `never`"), "{said}");
}

#[test]
fn a_table_name_cannot_leave_the_directory() {
    let field = "[[field]]\nname = \"x\"\nkind = \"categorical\"\ntable = \"../ids\"\n";
    let said = refused(&format!("[[task]]\nname = \"click\"\n{field}"));
    assert!(said.contains("table name `../ids`"), "{said}");
}

#[test]
fn a_name_that_cannot_be_a_file_is_told_at_once() {
    let of = |name: &str, more: &str| format!("[[task]]\nname = \"click\"\n[[field]]\nname = \"{name}\"\n{more}");
    let categorical = "kind = \"categorical\"\n";
    assert!(Schema::parse(&of(&"a".repeat(247), categorical)).is_ok());
    let said = refused(&of(&"é".repeat(124), categorical));
    assert!(said.contains("has 248 bytes, at most 247") && said.contains("`column`"), "{said}");
    for bad in ["a/b", "a\\u0000b", ""] {
        assert!(refused(&of(bad, categorical)).contains("letters, digits"), "{bad:?}");
    }
    let second = "[[field]]\nname = \"item\"\nkind = \"categorical\"\n";
    let said = refused(&of("Item", &format!("{categorical}{second}")));
    assert!(said.contains("tables `Item` and `item` differ in capitals only"), "{said}");
    let hashed = "kind = \"categorical\"\nbuckets = 9\n";
    assert!(Schema::parse(&of("Item", &format!("{hashed}{second}"))).is_ok(), "a hashed table is no file");
    let rate = "[[field]]\nname = \"Past\"\nkind = \"rate\"\nkey = [\"x\"]\n";
    let said = refused(&of("x", &format!("{categorical}{rate}{}", rate.replace("Past", "past"))));
    assert!(said.contains("fields `Past` and `past`"), "{said}");
}

#[test]
fn a_schema_survives_writing_and_reading() {
    let text = r#"
        scenario = "tab"
        never = ["truth"]
        null = ["NULL", "-"]
        width = 8
        [[task]]
        name = "click"
        [[task]]
        name = "like"
        after = "click"
        direct = true
        weight = 2.0
        [[field]]
        name = "user"
        kind = "categorical"
        buckets = 100
        side = "user"
        table = "ids"
        [[field]]
        name = "tags"
        kind = "multi"
        pooling = "sum"
        [[field]]
        name = "age"
        kind = "numeric"
        transform = "quantile"
        buckets = 9
        [[field]]
        name = "user_tag"
        kind = "rate"
        key = ["user", "tag"]
        time = "at"
    "#;
    let schema = Schema::parse(text).unwrap();
    assert_eq!(Schema::parse(&schema.to_toml()).unwrap(), schema);
}

#[test]
fn labels_follow_the_funnel() {
    let schema = Schema::parse(&format!(
        "[[task]]\nname = \"click\"\n[[task]]\nname = \"cart\"\nafter = \"click\"\n\
         [[task]]\nname = \"like\"\nafter = \"click\"\ndirect = true\n{FIELD}"
    ))
    .unwrap();
    let funnel = schema.funnel();
    let missing = f32::NAN;
    assert_eq!(funnel.given_parent(&[0.0, 1.0, 1.0], 1), None);
    assert_eq!(funnel.from_impression(&[0.0, 1.0, 1.0], 1), Some(false));
    assert_eq!(funnel.from_impression(&[0.0, 1.0, 1.0], 2), Some(true));
    assert_eq!(funnel.given_parent(&[1.0, 1.0, missing], 1), Some(true));
    assert_eq!(funnel.from_impression(&[missing, 1.0, missing], 1), None);
    assert_eq!(funnel.from_impression(&[0.0, missing, missing], 1), Some(false));
    assert_eq!(funnel.given_parent(&[missing, 1.0, 0.0], 2), None);
}

#[test]
fn a_schema_without_tasks_or_fields_says_what_it_lacks() {
    assert!(refused(FIELD).contains("there is no [[task]]"));
    assert!(refused("[[task]]\nname = \"click\"\n").contains("there is no [[field]]"));
    let said = refused(&format!("[task]\nname = \"click\"\n{FIELD}"));
    assert!(said.contains("invalid type: a section, expected a list"), "{said}");
}

#[test]
fn a_task_is_not_called_as_a_head_of_another() {
    let of = |name: &str| {
        let tasks = ["click", "cart", name].map(|name| format!("[[task]]\nname = \"{name}\"\n")).concat();
        Schema::parse(&format!("{tasks}{FIELD}"))
    };
    for name in ["click_from_impression", "cart_without_parent", "click_with_cart", "cart_without_click"] {
        let said = of(name).unwrap_err().to_string();
        assert!(said.contains(&format!("task `{name}`: a head of `c")), "{said}");
    }
    for name in ["click_with_coupon", "click_from", "from_impression"] {
        assert!(of(name).is_ok(), "{name}");
    }
}

#[test]
fn weights_and_groups_are_no_labels() {
    for key in ["weight", "group"] {
        let said = refused(&format!("{key} = \"click\"\n[[task]]\nname = \"click\"\n{FIELD}"));
        assert!(said.contains(&format!("`{key}` reads `click`, the label of a task")), "{said}");
    }
}

#[test]
fn a_parent_that_is_misspelt_is_not_taken_for_the_task_itself() {
    let said = refused(&format!("[[task]]\nname = \"click\"\nafter = \"clik\"\n{FIELD}"));
    assert!(said.contains("its parent `clik` is no task") && !said.contains("did you mean"), "{said}");
}

#[test]
fn rows_whose_parents_label_is_missing_do_not_count_by_what_came_after() {
    let schema =
        Schema::parse(&format!("[[task]]\nname = \"click\"\n[[task]]\nname = \"cart\"\nafter = \"click\"\n{FIELD}"));
    let funnel = schema.unwrap().funnel();
    for cart in [0.0, 1.0, f32::NAN] {
        assert_eq!(funnel.from_impression(&[f32::NAN, cart], 1), None, "{cart}");
    }
}

#[test]
fn a_width_with_a_slip_of_zeros_or_none_at_all_is_refused() {
    let task = "[[task]]\nname = \"click\"\n";
    for width in ["0", "1000000000000000000"] {
        let said = refused(&format!("width = {width}\n{task}{FIELD}"));
        assert!(said.contains(&format!("`width` must be from 1 to 16777216, found {width}")), "{said}");
        for kind in ["kind = \"multi\"", "kind = \"numeric\"\ntransform = \"quantile\""] {
            let said = refused(&format!("{task}[[field]]\nname = \"x\"\n{kind}\nwidth = {width}\n"));
            assert!(said.contains(&format!("field `x`: `width` must be from 1 to 16777216, found {width}")), "{said}");
        }
    }
}

#[test]
fn fields_of_one_table_that_do_not_say_have_one_min_count() {
    let of = |fields: &str| {
        let schema = Schema::parse(&format!("[[task]]\nname = \"click\"\n{fields}")).unwrap();
        let least = |field: &Field| match encoding(field) {
            Some(Encoding::Vocabulary { min_count }) => Some(min_count),
            _ => None,
        };
        schema.fields.iter().map(least).collect::<Vec<_>>()
    };
    let field =
        |name: &str, kind: &str, more: &str| format!("[[field]]\nname = \"{name}\"\nkind = \"{kind}\"\n{more}\n");
    let video = "table = \"video\"";
    assert_eq!(of(&[field("video", "categorical", ""), field("words", "multi", "")].concat()), [Some(10), Some(3)]);
    let seen = field("seen", "multi", video);
    assert_eq!(of(&[seen.clone(), field("shown", "categorical", video)].concat()), [Some(10), Some(10)]);
    assert_eq!(of(&[seen.clone(), field("liked", "multi", video)].concat()), [Some(3), Some(3)]);
    let named = field("shown", "categorical", &format!("{video}\nmin_count = 5"));
    assert_eq!(of(&[seen.clone(), named].concat()), [Some(5), Some(5)]);
    assert_eq!(of(&field("words", "multi", "buckets = 9")), [None]);
    let hashed = field("shown", "categorical", &format!("{video}\nbuckets = 9"));
    let said = refused(&format!("[[task]]\nname = \"click\"\n{seen}{hashed}"));
    assert!(said.contains("encode their values differently"), "{said}");
}
