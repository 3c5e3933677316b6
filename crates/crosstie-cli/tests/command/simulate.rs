//! An experiment is tried in a market before anybody risks traffic.

use crate::place::Place;

const EXPERIMENT: &str = "name = \"t\"\nunit = \"user_id\"\n[[arm]]\nname = \"control\"\nmodel = \"weak\"\nshare = 50\n\
                          [[arm]]\nname = \"better\"\nmodel = \"strong\"\nshare = 50\n\
                          [[step]]\ntraffic = 50\nminimum_hours = 48\n[[step]]\ntraffic = 100\nminimum_hours = 48\n";

#[test]
fn two_models_meet_in_a_market() {
    let place = Place::new();
    place.ok("synth --rows 4000 --out data");
    for (name, epochs) in [("weak", 1), ("strong", 4)] {
        place.write(
            &format!("{name}.toml"),
            &format!(
                "[data]\ndir = \"data\"\n[model]\nname = \"shared-bottom\"\nbottom_units = [8]\n\
                 [train]\nepochs = {epochs}\nbatch_size = 256\nthreads = 1\n"
            ),
        );
        place.ok(&format!("train {name}.toml --out {name}"));
    }
    place.write("t.toml", EXPERIMENT);
    place.write(
        "market.toml",
        "days = 8\ncandidates = 6\nslots = 2\ntask = \"click\"\nbudget = 5.0\n[log]\nrows = 4000\n",
    );
    let arguments = "simulate market.toml --experiment t.toml --arm control=weak --arm better=strong";
    let told = place.ok(&format!("{arguments} --json out.json --out work"));
    told.prints(&["eCPM against that of control", "50 %", "better: the true lift of eCPM is"]);
    let report: serde_json::Value = serde_json::from_str(&place.read("out.json")).unwrap();
    let days = report["days"].as_array().unwrap();
    assert_eq!(days.len(), 8);
    assert_eq!((&days[1]["state"]["step"], &days[2]["state"]["step"]), (&0.into(), &1.into()), "after 48 hours");
    assert!(report["truth"][0].as_f64().unwrap().abs() < 1.0 && report["ecpm"][0].as_f64().unwrap() > 0.0);
    // What the server was shown is there to be looked at.
    place
        .ok("experiment status work/experiments/t.toml --log work/log --window 2d")
        .prints(&["better", "Sample ratio"]);
    place.ok("abtest work/log --window 2d --experiment t.toml --value click_value").prints(&["click rate", "eCPM"]);
    place.run(&format!("{arguments} --out work")).exit(1).says(&["work", "name another directory with --out"]);
    place.run("simulate market.toml --experiment t.toml --arm control=weak").exit(1).says(&["serves the arm `better`"]);
    place.run(&format!("{arguments} --arm bettr=weak")).exit(1).says(&["no arm `bettr`; did you mean `better`?"]);
    place.write(
        "shop/schema.toml",
        "[[task]]\nname = \"click\"\n[[field]]\nname = \"product\"\nkind = \"categorical\"\n",
    );
    place.write("shop/train.csv", &format!("product,click\n{}", "a,1\nb,0\n".repeat(50)));
    place.write(
        "shop.toml",
        "[data]\nschema = \"shop/schema.toml\"\ntrain = \"shop/train.csv\"\nvalid = \"shop/train.csv\"\n\
         [model]\nname = \"single-task\"\n[train]\nepochs = 1\n",
    );
    place.ok("train shop.toml --out strange");
    let ran = place.run("simulate market.toml --experiment t.toml --arm control=weak --arm better=strange").exit(1);
    ran.says(&["--arm better=strange: its model reads the column `product`"]);
    place.write("market.toml", "task = \"clik\"\n");
    place.run(arguments).exit(1).says(&["no task `clik`; did you mean `click`?"]);
}
