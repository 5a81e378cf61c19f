# The managed security provider's own side: applications in its home tenant, and nothing in any customer's.

terraform {
  # 1.9 is the first that lets a variable's validation look at another variable.
  required_version = ">= 1.9"

  required_providers {
    azuread = {
      source = "hashicorp/azuread"
      # Exactly the version whose schema these files are checked against; `tests/fixtures/terraform` says how to move it.
      version = "3.7.0"
    }
  }
}

provider "azuread" {
  # Named, so that a signed-in session for another tenant fails instead of making the applications there.
  tenant_id   = var.home_tenant_id
  environment = local.clouds[var.cloud].environment
}

locals {
  # National clouds do not mix: an application is registered in each by itself. The audience is what Entra of that cloud
  # recommends for the tokens of another issuer.
  clouds = {
    commercial = { environment = "global", audience = "api://AzureADTokenExchange" }
    gcc        = { environment = "global", audience = "api://AzureADTokenExchange" }
    gcc-high   = { environment = "usgovernmentl4", audience = "api://AzureADTokenExchangeUSGov" }
    dod        = { environment = "usgovernmentl5", audience = "api://AzureADTokenExchangeUSGov" }
  }
}
