# The same policy for OPA. The app reads `deny`, `erase` and `shadow`, erases and reviews by itself.
package images

import rego.v1

prompt := lower(input.prompt)

museum if {
	input.tenant == "museum"
	input.today <= "2026-09-30"
}

# What the museum may show is taken out of the prompt before the rest of it is judged.
judged := regex.replace(prompt, `\bnude statues?\b`, " ") if museum

judged := prompt if not museum

deny contains "No nudity." if regex.match(`\bnudes?\b`, judged)

erase contains "gun" if regex.match(`\b(gun|pistol)s?\b`, regex.replace(prompt, `\bglue guns?\b`, " "))

shadow contains "knives" if regex.match(`\b(knife|knives)\b`, prompt)
