//! Users, items and situations of a market as the objects of requests.

use crosstie::Result;
use crosstie::data::Rows;
use crosstie::data::synth::Impression;
use crosstie::experiment::{Market, Visit};
use crosstie::schema::{Schema, Side};
use serde_json::{Map, Value};

/// What requests are made of: the text of an object for each user and each item.
pub struct Objects {
    users: Vec<String>,
    items: Vec<String>,
    /// Columns of the situation.
    context: Vec<String>,
}

impl Objects {
    /// Those of a market on a log of this schema.
    ///
    /// # Errors
    /// None but of a schema that is not the log's.
    pub fn new(market: &Market<'_>, schema: &Schema) -> Result<Objects> {
        let of_side = |side: Side| -> Vec<String> {
            let fields = schema.fields.iter().filter(|field| field.side == side);
            fields.flat_map(|field| field.columns()).map(String::from).collect()
        };
        let none = Impression { user: 0, item: 0, scenario: 0, position: 1, hour: 0, device: 0 };
        let users: Vec<Impression> = (0..market.crowd().users()).map(|user| Impression { user, ..none }).collect();
        let items: Vec<Impression> = (0..market.crowd().items()).map(|item| Impression { item, ..none }).collect();
        let mut of_items = objects(market, &items, &of_side(Side::Item))?;
        for (item, object) in of_items.iter_mut().enumerate() {
            object.insert(BID.into(), market.bid(item).into());
        }
        let text = |objects: Vec<Map<String, Value>>| objects.into_iter().map(|of| Value::Object(of).to_string());
        Ok(Objects {
            users: text(objects(market, &users, &of_side(Side::User))?).collect(),
            items: text(of_items).collect(),
            context: of_side(Side::Context),
        })
    }

    /// The situation of each visit.
    ///
    /// # Errors
    /// None but of a schema that is not the log's.
    pub fn contexts(&self, market: &Market<'_>, visits: &[Visit]) -> Result<Vec<String>> {
        let first: Vec<Impression> = visits.iter().map(|visit| visit.candidates[0]).collect();
        Ok(objects(market, &first, &self.context)?.into_iter().map(|of| Value::Object(of).to_string()).collect())
    }

    /// The body of a request to rank some of a visit's candidates by bid and probability.
    pub fn request(&self, visit: &Visit, context: &str, open: &[usize], terms: &Terms<'_>) -> String {
        let candidates: Vec<&str> = open.iter().map(|place| &*self.items[visit.candidates[*place].item]).collect();
        let (user, candidates) = (&self.users[visit.user], candidates.join(","));
        let Terms { model, id, task, top } = terms;
        format!(
            "{{\"model\":{},\"request\":\"{id}\",\"user\":{user},\"context\":{context},\
             \"candidates\":[{candidates}],\"formula\":\"{BID} * {task}.from_impression\",\"top\":{top}}}",
            Value::from(*model),
        )
    }
}

/// What a request says besides.
pub struct Terms<'a> {
    /// The model.
    pub model: &'a str,
    /// The request's id.
    pub id: &'a str,
    /// The task that is paid for.
    pub task: &'a str,
    /// How many are shown.
    pub top: u64,
}

/// What a candidate's bid is called.
const BID: &str = "bid";

/// Columns of impressions as objects.
fn objects(market: &Market<'_>, shown: &[Impression], columns: &[String]) -> Result<Vec<Map<String, Value>>> {
    let rows = Rows::new(market.crowd().rows(shown), "market");
    let mut objects = vec![Map::new(); shown.len()];
    for name in columns {
        let column = rows.column(name)?;
        if column.kind() == "text" {
            column.each_text(|row, text| drop(objects[row].insert(name.clone(), text.into())))?;
        } else {
            let whole = column.kind() == "integer";
            for (object, number) in objects.iter_mut().zip(column.numbers()?) {
                let value =
                    number.map_or(Value::Null, |number| if whole { (number as i64).into() } else { number.into() });
                object.insert(name.clone(), value);
            }
        }
    }
    Ok(objects)
}
